//! Whether a step may start: what policy says now, and what people have said.

use contracts::{
    canonical::Digest,
    events::executor::ProposalReason,
    facts::{ApprovalRule, Eligible, StepVerdict},
    plan::{Mode, PlanStep, RiskTier, Verdict},
};

use crate::execution::{Block, Run, Step};

pub(super) enum Permission {
    /// A verdict is asked for first.
    Asked(ProposalReason),
    Given,
    ByPeople {
        rule: ApprovalRule,
        reason: String,
    },
    Refused(String),
}

/// For a step with these inputs, under the policy that is active now.
pub(super) fn of(
    run: &Run,
    step: &PlanStep,
    state: &Step,
    inputs_digest: Digest,
    policy_version: Option<Digest>,
) -> Permission {
    let Some(verdict) = run.verdict(&step.id) else {
        return Permission::Refused("there is no verdict on it".to_owned());
    };
    if let Some(reason) = question(run, step, state, inputs_digest, policy_version) {
        return Permission::Asked(reason);
    }
    // High risk never runs without a human, whatever a policy says.
    let by_people = run.mode == Mode::Assist || verdict.tier >= RiskTier::High;
    match verdict.verdict {
        Verdict::Blocked => Permission::Refused(verdict.reasons.join("; ")),
        Verdict::Autonomous if !by_people => Permission::Given,
        Verdict::Autonomous | Verdict::Assist => {
            let asked = verdict.approval.clone();
            let rule = asked.unwrap_or_else(|| assist_rule(verdict.tier));
            let plan_hash = run.judged.compiled.deterministic_hash;
            let stands = state
                .block
                .as_ref()
                .is_some_and(|block| stands(block, &rule, verdict.tier, inputs_digest, plan_hash));
            if stands {
                Permission::Given
            } else {
                let reason = block_reason(verdict);
                Permission::ByPeople { rule, reason }
            }
        }
    }
}

/// Why a verdict is needed before the step can go on, if one is.
fn question(
    run: &Run,
    step: &PlanStep,
    state: &Step,
    inputs_digest: Digest,
    policy_version: Option<Digest>,
) -> Option<ProposalReason> {
    let (judged_by, inputs_known) = if let Some(judgement) = &state.judgement {
        let same = judgement.inputs_digest == inputs_digest;
        (judgement.policy_version, same)
    } else {
        let plan = &run.judged.verdict;
        let verdict = plan.steps.get(&step.id);
        (
            plan.policy_version,
            verdict.is_some_and(|verdict| !verdict.dynamic),
        )
    };
    if !inputs_known {
        Some(ProposalReason::InputsKnown)
    } else if judged_by != policy_version {
        Some(ProposalReason::PolicyChanged)
    } else {
        None
    }
}

/// The approval that `mode: assist` asks for where policy asks for none: one person with the
/// grant, within a day; of high risk, who has seen the plan.
fn assist_rule(tier: RiskTier) -> ApprovalRule {
    ApprovalRule {
        quorum: 1,
        eligible: [Eligible::Grant("execution.approve".to_owned())].into(),
        expires_after_ms: 24 * 60 * 60 * 1000,
        plan_hash_required: tier >= RiskTier::High,
    }
}

/// Whether a block that was opened before, with its votes, still answers the question.
fn stands(
    block: &Block,
    rule: &ApprovalRule,
    tier: RiskTier,
    inputs_digest: Digest,
    plan_hash: Digest,
) -> bool {
    block.is_passed()
        && block.opened.approval == *rule
        && block.tier == tier
        && block.opened.inputs_digest == inputs_digest
        && block.opened.plan_hash == plan_hash
}

fn block_reason(verdict: &StepVerdict) -> String {
    if verdict.reasons.is_empty() {
        "a human approves every step in this mode".to_owned()
    } else {
        verdict.reasons.join("; ")
    }
}
