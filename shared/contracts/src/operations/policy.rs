//! `controlPlane.policy.*`

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    bundle::{Bundle, BundleFinding},
    canonical::Digest,
    ids::{ExecutionId, PrincipalId, StepId},
    plan::{RiskTier, Verdict},
    position::Positions,
    time::Timestamp,
};

message! {
    /// `controlPlane.policy.explain`: why the last verdict on a plan or a step is what it is.
    input ExplainInput {
        execution_id: ExecutionId,
    }, optional {
        /// The whole plan where it is absent.
        step_id: StepId,
        /// Answer with nothing older than this position.
        at_least: Positions,
    }

    output ExplainOutput {
        verdict: Verdict,
        risk_tier: RiskTier,
        /// Hash of the bundle, or `none` where no policy was active, which blocks.
        policy_version: String,
    }, optional {
        reasons: Vec<String>,
        step_id: StepId,
        /// The policies that decided.
        policies: Vec<DecidingPolicy>,
        /// What they saw.
        facts: Map<String, Value>,
        position: Positions,
    }

    output DecidingPolicy {
        id: String,
    }, optional {
        /// Its Cedar source.
        text: String,
        annotations: BTreeMap<String, String>,
    }

    /// `controlPlane.policy.activate`: not in the reference contract.
    input ActivateInput {
        bundle: Bundle,
    }, optional {
        /// Anyone but the caller needs the grant `act-as`.
        activated_by: PrincipalId,
    }

    output ActivateOutput {
        /// SHA-256 of the bundle's canonical bytes.
        hash: Digest,
        status: BundleStatus,
        findings: Vec<BundleFinding>,
        activated_at: Timestamp,
    }, optional {
        position: Positions,
    }
}

/// What became of an activation request.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum BundleStatus {
    Activated,
    Refused,
}
