//! Written by the verifier: verdicts on plans and steps, and the catalogue's outcomes.

use std::collections::BTreeMap;

use crate::{
    bundle::BundleFinding,
    canonical::Digest,
    facts::{Facts, StepFacts, StepVerdict},
    ids::{ExecutionId, InstallationId, PlanId, RunId, SkillKey, SkillVersion, StepId},
    manifest::{VerificationIssue, VerificationReport},
    plan::{RiskTier, Verdict},
    time::Timestamp,
};

payload! {
    /// The verdict on a plan, blocked ones too.
    PlanVerified {
        execution_id: ExecutionId,
        plan_id: PlanId,
        verdict: Verdict,
        requires_approval: bool,
        risk_tier: RiskTier,
        steps: BTreeMap<StepId, StepVerdict>,
        facts: Facts,
        /// Hash of the active bundle; absent where no policy is active, which denies.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy_version: Option<Digest>,
        engine_version: String,
        verified_at: Timestamp,
        catalogue: u64,
        #[serde(rename = "factsdigest")]
        facts_digest: Digest,
    }

    /// The second verdict: on a step whose inputs or whose policy have become known anew.
    StepJudged {
        execution_id: ExecutionId,
        run_id: RunId,
        step_id: StepId,
        /// The version of the `execution.step.proposed` that it answers.
        answers: u64,
        inputs_digest: Digest,
        /// The new verdict with its reasons, tier and approval rule, as members of the event.
        #[serde(flatten)]
        verdict: StepVerdict,
        facts: StepFacts,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy_version: Option<Digest>,
        engine_version: String,
        judged_at: Timestamp,
        catalogue: u64,
        #[serde(rename = "factsdigest")]
        facts_digest: Digest,
    }

    SkillInstalled {
        installation_id: InstallationId,
        skill_key: SkillKey,
        version: SkillVersion,
        installed_at: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        publisher: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provenance: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manifest_digest: Option<Digest>,
        /// Of the trust document it was checked against.
        trust_digest: Digest,
        report: VerificationReport,
        catalogue: u64,
    }

    SkillRejected {
        installation_id: InstallationId,
        skill_key: SkillKey,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<SkillVersion>,
        rejected_at: Timestamp,
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provenance: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manifest_digest: Option<Digest>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issues: Option<Vec<VerificationIssue>>,
        trust_digest: Digest,
        report: VerificationReport,
        catalogue: u64,
    }

    PolicyActivated {
        hash: Digest,
        findings: Vec<BundleFinding>,
        engine_version: String,
        activated_at: Timestamp,
    }

    PolicyRefused {
        hash: Digest,
        findings: Vec<BundleFinding>,
        engine_version: String,
        refused_at: Timestamp,
    }
}
