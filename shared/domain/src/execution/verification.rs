//! What the verifier is asked, and its answers as events. The judging itself is policy's; here is
//! only what may be asked, and what follows from an answer.

use std::{collections::BTreeMap, sync::Arc};

use contracts::{
    canonical::Digest,
    event::Event,
    events::{
        planner::{PlanCompiled, PlanRejected, RejectionCause},
        verifier::{PlanVerified, StepJudged},
    },
    facts::{Facts, StepFacts, StepVerdict, facts_digest},
    ids::StepId,
    plan::{Finding, Plan, RiskTier, Verdict},
    time::Timestamp,
};
use serde_json::Value;

use super::{Execution, Judged, Known, RULES, Run, Stage, StepState};

/// What the state asks the verifier.
#[derive(Debug, Clone, PartialEq)]
pub enum Question<'a> {
    /// What may this plan do?
    Plan(&'a Arc<PlanCompiled>),
    /// What may these steps do, now that their inputs are known? In the order of their proposals.
    Steps(Vec<Proposed<'a>>),
    /// A blocked plan was judged and not yet rejected.
    Reject(&'a Judged),
    Nothing,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Proposed<'a> {
    pub run: &'a Run,
    pub step: &'a StepId,
    /// The version of the proposal.
    pub version: u64,
    pub inputs: &'a Value,
    pub inputs_digest: Digest,
    /// The plan-time verdict, of which the declared tier stays.
    pub provisional: &'a StepVerdict,
    /// The facts of that verdict.
    pub planned: &'a StepFacts,
}

pub fn question(state: &Execution) -> Question<'_> {
    let Execution::Known(known) = state else {
        // Nothing was received, or nothing can follow.
        return Question::Nothing;
    };
    if known.stop.is_some() {
        // What stops is not judged any more.
        return Question::Nothing;
    }
    match &known.stage {
        Stage::Compiled { compiled } => Question::Plan(compiled),
        Stage::Verified(verified) if verified.judged.verdict.verdict == Verdict::Blocked => {
            Question::Reject(&verified.judged)
        }
        Stage::Running(run) => {
            let mut proposed: Vec<Proposed<'_>> = run
                .steps
                .iter()
                .filter_map(|(id, step)| match &step.state {
                    StepState::Proposed {
                        version,
                        inputs,
                        inputs_digest,
                    } => Some(Proposed {
                        run,
                        step: id,
                        version: *version,
                        inputs,
                        inputs_digest: *inputs_digest,
                        provisional: run.judged.verdict.steps.get(id)?,
                        planned: run.judged.verdict.facts.steps.get(id)?,
                    }),
                    StepState::Pending
                    | StepState::Started(_)
                    | StepState::Accepted { .. }
                    | StepState::RetryWait { .. }
                    | StepState::Completed { .. }
                    | StepState::Failed { .. }
                    | StepState::Skipped => None,
                })
                .collect();
            proposed.sort_by_key(|proposed| proposed.version);
            if proposed.is_empty() {
                Question::Nothing
            } else {
                Question::Steps(proposed)
            }
        }
        // Not yet planned, or judged before: others go on from here.
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Verified(_)
        | Stage::Rejected { .. }
        | Stage::Completed { .. }
        | Stage::Failed { .. } => Question::Nothing,
    }
}

/// The verdict on a plan, as policy gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanAnswer {
    pub facts: Facts,
    pub verdict: Verdict,
    pub requires_approval: bool,
    pub risk_tier: RiskTier,
    pub steps: BTreeMap<StepId, StepVerdict>,
}

/// By what a verdict was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Basis<'a> {
    pub policy_version: Option<Digest>,
    pub engine_version: &'a str,
    /// Sequence of the catalogue.
    pub catalogue: u64,
}

/// The verdict, and the rejection straight after it where it is blocked.
pub fn plan_verified(
    known: &Known,
    compiled: &PlanCompiled,
    answer: PlanAnswer,
    basis: &Basis<'_>,
    now: Timestamp,
) -> Vec<Event> {
    let facts_digest = facts_digest(&answer.facts);
    let verified = PlanVerified {
        execution_id: known.id,
        plan_id: compiled.plan_id,
        verdict: answer.verdict,
        requires_approval: answer.requires_approval,
        risk_tier: answer.risk_tier,
        steps: answer.steps,
        facts: answer.facts,
        policy_version: basis.policy_version,
        engine_version: basis.engine_version.to_owned(),
        verified_at: now,
        catalogue: basis.catalogue,
        facts_digest,
        rules: RULES,
    };
    let mut events = Vec::with_capacity(2);
    let rejected = (verified.verdict == Verdict::Blocked)
        .then(|| plan_rejected(known, compiled, &verified, now));
    events.push(verified.into());
    events.extend(rejected);
    events
}

/// A blocked plan ends the execution.
pub fn plan_rejected(
    known: &Known,
    compiled: &PlanCompiled,
    verdict: &PlanVerified,
    now: Timestamp,
) -> Event {
    let findings = blocked_findings(&compiled.plan, verdict);
    PlanRejected {
        execution_id: known.id,
        plan_id: Some(compiled.plan_id),
        rejected_at: now,
        reasons: Some(blocked_reasons(verdict)),
        cause: RejectionCause::Policy,
        findings,
        is_final: true,
        catalogue: Some(verdict.catalogue),
        facts_digest: Some(verdict.facts_digest),
        rules: RULES,
    }
    .into()
}

/// Why a plan is blocked, each reason once.
pub fn blocked_reasons(verdict: &PlanVerified) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    let blocked = verdict
        .steps
        .values()
        .filter(|step| step.verdict == Verdict::Blocked);
    for reason in blocked.flat_map(|step| &step.reasons) {
        if !reasons.contains(reason) {
            reasons.push(reason.clone());
        }
    }
    reasons
}

fn blocked_findings(plan: &Plan, verdict: &PlanVerified) -> Vec<Finding> {
    plan.steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| Some((index, verdict.steps.get(&step.id)?)))
        .filter(|(_, step)| step.verdict == Verdict::Blocked)
        .map(|(index, step)| Finding {
            path: format!("/steps/{index}"),
            code: "POLICY_BLOCKED".to_owned(),
            message: step.reasons.join("; "),
        })
        .collect()
}

/// The second verdict on one proposed step.
pub fn step_judged(
    known: &Known,
    proposed: &Proposed<'_>,
    facts: StepFacts,
    verdict: StepVerdict,
    basis: &Basis<'_>,
    now: Timestamp,
) -> Event {
    StepJudged {
        execution_id: known.id,
        run_id: proposed.run.id(known.id),
        step_id: proposed.step.clone(),
        answers: proposed.version,
        inputs_digest: proposed.inputs_digest,
        facts_digest: facts_digest(&facts),
        verdict,
        facts,
        policy_version: basis.policy_version,
        engine_version: basis.engine_version.to_owned(),
        judged_at: now,
        catalogue: basis.catalogue,
        rules: RULES,
    }
    .into()
}
