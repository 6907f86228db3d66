//! `controlPlane.policy.*`

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    bundle::{Bundle, BundleFinding},
    canonical::Digest,
    facts::ApprovalRule,
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
        /// Who may vote where a human must, of each step.
        approvals: BTreeMap<StepId, ApprovalRule>,
        /// What the recorded facts come to when they are judged again now by the recorded policy.
        reevaluation: Reevaluation,
        /// The version of the engine that judged.
        engine_version: String,
        /// The position of the catalogue that was judged on.
        catalogue: u64,
        position: Positions,
    }

    /// Whether the policy says the same of the same facts.
    output Reevaluation {
    }, optional {
        /// Absent where it cannot be told: see `reason`.
        same: bool,
        /// What comes out now, where that differs.
        verdict: Verdict,
        risk_tier: RiskTier,
        /// The steps that come out otherwise.
        steps: Vec<StepId>,
        /// The version of the engine that judged again.
        engine_version: String,
        /// Why it cannot be told.
        reason: String,
    }

    output DecidingPolicy {
        id: String,
    }, optional {
        /// `permit` or `forbid`.
        effect: String,
        /// The file of the bundle that it stands in.
        file: String,
        /// The steps it decided on.
        steps: Vec<StepId>,
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
