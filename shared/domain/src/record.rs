//! An execution as its readers see it: the answer to `controlPlane.execution.get`.
//!
//! * [`waiting`]: what it waits for from outside its services

use std::collections::BTreeMap;

use contracts::{
    events::{executor::EffectOutcome, planner::RejectionCause},
    facts::StepVerdict,
    ids::StepId,
    operations::execution::{
        ExecutionRecord, Failure, OpenApproval, StepStatus, StepSummary, Vote,
    },
    plan::{Finding, Mode, PlanStep, RiskTier, Status, Verdict},
    record::Recorded,
    time::Timestamp,
};

use crate::execution::{Block, Execution, Known, Stage, Step, StepState};

pub mod waiting;

/// The code of an execution whose history does not hold together.
pub const CORRUPT: &str = "AGGREGATE_CORRUPT";

/// Of a whole history; nothing where it does not even begin as one. What comes after an illegal
/// event is not told.
pub fn of(events: &[Recorded]) -> Option<ExecutionRecord> {
    match Execution::fold(events) {
        Execution::NeverReceived => None,
        Execution::Known(known) => Some(record(&known)),
        Execution::Corrupt(corruption) => {
            let legal = events
                .iter()
                .take_while(|event| event.version() < corruption.version);
            let sound = record(Execution::fold(legal).known()?);
            let illegal = events
                .iter()
                .find(|event| event.version() == corruption.version);
            let at = illegal.map_or(sound.updated_at, Recorded::time);
            Some(broken(
                sound,
                corruption.version,
                at,
                corruption.to_string(),
            ))
        }
    }
}

/// Of an execution whose history does not hold together from `version` on, as it stood before.
pub fn broken(
    sound: ExecutionRecord,
    version: u64,
    at: Timestamp,
    message: String,
) -> ExecutionRecord {
    ExecutionRecord {
        waiting_for: None,
        status: Status::Corrupt,
        updated_at: at,
        failure: Some(Failure {
            code: CORRUPT.to_owned(),
            message: Some(message),
            step_id: None,
        }),
        version: Some(version),
        ..sound
    }
}

/// Of a history that holds together.
pub fn record(known: &Known) -> ExecutionRecord {
    let intent = &known.intent;
    let compiled = known.compiled();
    let standing = standing(known);
    ExecutionRecord {
        execution_id: known.id,
        status: known.status(),
        created_at: intent.received_at,
        updated_at: known.head.time,
        intent_id: Some(intent.intent_id),
        plan_id: compiled.map(|compiled| compiled.plan_id),
        run_id: known.run_id(),
        risk_tier: standing.map(|(_, tier)| tier),
        requires_approval: standing.map(|(verdict, _)| verdict == Verdict::Assist),
        lane: None,
        text: Some(intent.text.clone()),
        actor: Some(intent.actor.clone()),
        channel_key: intent.channel_key.clone(),
        start: Some(intent.start),
        mode: Some(mode(known)),
        deadline_at: intent.deadline_at,
        plan_hash: compiled.map(|compiled| compiled.deterministic_hash),
        verdict: standing.map(|(verdict, _)| verdict),
        policy_version: known
            .judged()
            .and_then(|judged| judged.verdict.policy_version),
        steps: compiled.map(|compiled| {
            let steps = compiled.plan.steps.iter();
            steps.map(|step| summary(known, step)).collect()
        }),
        waiting_for: {
            let waits: Vec<_> = waiting::of(known).into_iter().collect();
            (!waits.is_empty()).then_some(waits)
        },
        failure: failure(known),
        findings: findings(known).map(<[Finding]>::to_vec),
        version: Some(known.head.version),
    }
}

/// The strictest of what policy says of the steps now.
fn standing(known: &Known) -> Option<(Verdict, RiskTier)> {
    let judged = known.judged()?;
    let verdicts = judged
        .verdict
        .steps
        .keys()
        .filter_map(|id| verdict(known, id));
    let (verdict, tier) = verdicts
        .map(|verdict| (verdict.verdict, verdict.tier))
        .reduce(|(verdict, tier), (other, other_tier)| (verdict.max(other), tier.max(other_tier)))
        .unwrap_or((judged.verdict.verdict, judged.verdict.risk_tier));
    // In mode `assist` a human approves also what policy would let run.
    let assisted = mode(known) == Mode::Assist;
    let verdict = if assisted {
        verdict.max(Verdict::Assist)
    } else {
        verdict
    };
    Some((verdict, tier))
}

/// What policy says of a step now: the answer to its last proposal, or the plan's verdict.
fn verdict<'a>(known: &'a Known, id: &StepId) -> Option<&'a StepVerdict> {
    let judgement = known
        .steps()
        .and_then(|steps| steps.get(id)?.judgement.as_ref());
    match judgement {
        Some(judgement) => Some(&judgement.verdict),
        None => known.judged()?.verdict.steps.get(id),
    }
}

fn mode(known: &Known) -> Mode {
    match &known.stage {
        Stage::Running(run) | Stage::Failed { run: Some(run), .. } => run.mode,
        Stage::Completed { mode, .. } => *mode,
        Stage::Verified(verified) => verified.start.unwrap_or(known.intent.mode),
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. }
        | Stage::Rejected { .. }
        | Stage::Failed { run: None, .. } => known.intent.mode,
    }
}

fn failure(known: &Known) -> Option<Failure> {
    match &known.stage {
        Stage::Failed { stop, .. } => Some(Failure {
            code: stop.code.as_str().to_owned(),
            message: Some(stop.message.clone()),
            step_id: stop.step.clone(),
        }),
        Stage::Rejected {
            cause, findings, ..
        } => {
            let (code, message) = refusal(*cause);
            let first = findings.first().map(|finding| finding.message.clone());
            Some(Failure {
                code: code.to_owned(),
                message: Some(first.unwrap_or_else(|| message.to_owned())),
                step_id: None,
            })
        }
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. }
        | Stage::Verified(_)
        | Stage::Running(_)
        | Stage::Completed { .. } => None,
    }
}

const fn refusal(cause: RejectionCause) -> (&'static str, &'static str) {
    match cause {
        RejectionCause::Compile => ("compile", "the draft does not compile"),
        RejectionCause::DraftTimeout => ("draft_timeout", "no draft came in time"),
        RejectionCause::Policy => ("policy", "policy blocks the plan"),
    }
}

fn findings(known: &Known) -> Option<&[Finding]> {
    match &known.stage {
        Stage::Rejected { findings, .. } | Stage::DraftRefused { findings, .. } => Some(findings),
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::Compiled { .. }
        | Stage::Verified(_)
        | Stage::Running(_)
        | Stage::Completed { .. }
        | Stage::Failed { .. } => None,
    }
}

fn summary(known: &Known, plan_step: &PlanStep) -> StepSummary {
    let verdict = verdict(known, &plan_step.id);
    let step = known.steps().and_then(|steps| steps.get(&plan_step.id));
    let mut summary = StepSummary {
        id: plan_step.id.clone(),
        uses: plan_step.uses.clone(),
        action: plan_step.action.clone(),
        status: StepStatus::Pending,
        attempts: 0,
        verdict: verdict.map(|verdict| verdict.verdict),
        tier: verdict.map(|verdict| verdict.tier),
        reasons: verdict.map(|verdict| verdict.reasons.clone()),
        inputs_digest: None,
        approval: None,
        next_attempt_at: None,
        error_code: None,
        error_message: None,
    };
    let Some(step) = step else {
        return summary;
    };
    summary.attempts = step.attempts;
    summary.inputs_digest = inputs_digest(step);
    summary.approval = awaited_votes(known, step).map(approval);
    match &step.state {
        StepState::Pending if summary.approval.is_some() => summary.status = StepStatus::Blocked,
        StepState::Pending if is_permitted(known, plan_step, step, verdict) => {
            summary.status = StepStatus::Permitted;
        }
        StepState::Pending => {}
        StepState::Proposed { .. } => summary.status = StepStatus::Proposed,
        StepState::Started(_) => summary.status = StepStatus::Started,
        StepState::Accepted { .. } => summary.status = StepStatus::Waiting,
        StepState::RetryWait { at } => {
            summary.status = StepStatus::RetryWait;
            summary.next_attempt_at = Some(*at);
        }
        StepState::Completed { .. } => summary.status = StepStatus::Completed,
        StepState::Failed {
            code,
            message,
            outcome,
        } => {
            summary.status = StepStatus::Failed;
            summary.error_code = Some(code.clone());
            summary.error_message = message.clone().or_else(|| in_doubt(*outcome));
        }
        StepState::Skipped => summary.status = StepStatus::Skipped,
    }
    summary
}

fn in_doubt(outcome: EffectOutcome) -> Option<String> {
    match outcome {
        EffectOutcome::Unknown => Some("it is not known whether the effect happened".to_owned()),
        EffectOutcome::NotDone => None,
    }
}

/// The block of a step that a vote would still count for.
fn awaited_votes<'a>(known: &Known, step: &'a Step) -> Option<&'a Block> {
    let under_way = matches!(known.stage, Stage::Running(_)) && known.stop.is_none();
    under_way.then(|| step.open_block()).flatten()
}

fn is_permitted(
    known: &Known,
    plan_step: &PlanStep,
    step: &Step,
    verdict: Option<&StepVerdict>,
) -> bool {
    let Stage::Running(run) = &known.stage else {
        return false;
    };
    let is_final = step.judgement.is_some() || !plan_step.has_bindings();
    let autonomous = run.mode == Mode::Autonomous
        && verdict.is_some_and(|verdict| verdict.verdict == Verdict::Autonomous);
    let approved = step.block.as_ref().is_some_and(Block::is_passed);
    known.stop.is_none() && is_final && (autonomous || approved)
}

fn inputs_digest(step: &Step) -> Option<contracts::canonical::Digest> {
    let of_block = || step.block.as_ref().map(|block| block.opened.inputs_digest);
    match &step.state {
        StepState::Proposed { inputs_digest, .. } => Some(*inputs_digest),
        StepState::Started(attempt) => Some(attempt.inputs_digest),
        StepState::Pending
        | StepState::Accepted { .. }
        | StepState::RetryWait { .. }
        | StepState::Completed { .. }
        | StepState::Failed { .. }
        | StepState::Skipped => of_block().or_else(|| {
            let judgement = step.judgement.as_ref();
            judgement.map(|judgement| judgement.inputs_digest)
        }),
    }
}

/// The blocks that wait for votes, by step.
pub fn open_approvals(known: &Known) -> BTreeMap<StepId, &Block> {
    let steps = known.steps().into_iter().flatten();
    steps
        .filter_map(|(id, step)| Some((id.clone(), awaited_votes(known, step)?)))
        .collect()
}

/// What a voter is shown of a block.
pub fn approval(block: &Block) -> OpenApproval {
    let opened = &block.opened;
    OpenApproval {
        block_id: opened.block_id,
        plan_hash: opened.plan_hash,
        inputs_digest: opened.inputs_digest,
        quorum: opened.approval.quorum,
        eligible: opened.approval.eligible.clone(),
        plan_hash_required: opened.approval.plan_hash_required,
        votes: block
            .votes
            .iter()
            .map(|(by, at)| Vote {
                by: by.clone(),
                approved_at: *at,
            })
            .collect(),
        expires_at: opened.expires_at,
        reason: opened.reason.clone(),
    }
}
