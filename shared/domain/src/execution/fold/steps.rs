//! The events of a step: what each may follow, and which votes count.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a state that an event does not name is one it may not follow"
)]

use std::{collections::BTreeMap, sync::Arc};

use contracts::{
    events::{
        executor::{
            FailureCode, StepAccepted, StepBlocked, StepCompleted, StepFailed, StepProposed,
            StepSkipped, StepStarted,
        },
        intake::{ExecutionApproved, ExecutionRejected, ReportedOutcome, StepReported},
        verifier::StepJudged,
    },
    ids::{RunId, StepId},
    planted::{self, Bug},
    record::Recorded,
    time::Timestamp,
};

use super::{Fold, running};
use crate::execution::{Attempt, Block, Judgement, Known, Step, StepState, Stop, steps::ready};

fn step<'a>(known: &'a mut Known, run: RunId, id: &StepId) -> Fold<&'a mut Step> {
    running(known, run)?
        .steps
        .get_mut(id)
        .ok_or_else(|| format!("the plan has no step `{id}`"))
}

/// A step that may move on: while the execution stops, none does.
fn moving_step<'a>(known: &'a mut Known, run: RunId, id: &StepId) -> Fold<&'a mut Step> {
    if known.stop.is_some() {
        return Err("nothing new starts while it stops".to_owned());
    }
    step(known, run, id)
}

pub(super) fn proposed(known: &mut Known, version: u64, event: &StepProposed) -> Fold {
    let step = moving_step(known, event.run_id, &event.step_id)?;
    match step.state {
        StepState::Pending | StepState::RetryWait { .. } if step.open_block().is_none() => {
            step.state = StepState::Proposed {
                version,
                inputs: Arc::new(event.inputs.clone()),
                inputs_digest: event.inputs_digest,
            };
            Ok(())
        }
        _ => Err("the step is not waiting to start".to_owned()),
    }
}

pub(super) fn judged(known: &mut Known, event: &StepJudged) -> Fold {
    let step = moving_step(known, event.run_id, &event.step_id)?;
    if let StepState::Proposed { version, .. } = &step.state
        && *version == event.answers
    {
        step.state = StepState::Pending;
        step.judgement = Some(Judgement {
            inputs_digest: event.inputs_digest,
            policy_version: event.policy_version,
            verdict: event.verdict.clone(),
        });
    }
    // The answer to an older proposal changes nothing: only the last one is asked.
    Ok(())
}

pub(super) fn blocked(known: &mut Known, event: &StepBlocked) -> Fold {
    let tier = running(known, event.run_id)?
        .verdict(&event.step_id)
        .map(|verdict| verdict.tier)
        .ok_or("the step has no verdict")?;
    let step = moving_step(known, event.run_id, &event.step_id)?;
    match step.state {
        StepState::Pending | StepState::RetryWait { .. } if step.open_block().is_none() => {
            let votes = match &step.block {
                // People have voted on the step.
                Some(before) if planted::is(Bug::VoteWithoutBlock) => before.votes.clone(),
                Some(_) | None => BTreeMap::new(),
            };
            step.state = StepState::Pending;
            step.blocks += 1;
            step.block = Some(Block {
                opened: Arc::new(event.clone()),
                tier,
                votes,
            });
            Ok(())
        }
        _ => Err("the step is not waiting to start".to_owned()),
    }
}

/// A vote counts if its block is open, its recorded time is before the expiry, and its voter may
/// vote. One that does not count stays in the history and changes nothing.
pub(super) fn approved(known: &mut Known, recorded: &Recorded, event: &ExecutionApproved) -> Fold {
    let requester = known.intent.actor.clone();
    let step = moving_step(known, event.run_id, &event.step_id)?;
    let Some(block) = step
        .block
        .as_mut()
        .filter(|block| block.opened.block_id == event.block_id)
    else {
        return Ok(());
    };
    let rule = &block.opened.approval;
    let names_plan = match event.plan_hash {
        Some(hash) => hash == block.opened.plan_hash,
        None => !rule.plan_hash_required,
    };
    let names_inputs = event
        .inputs_digest
        .is_none_or(|digest| digest == block.opened.inputs_digest);
    let counts = !block.is_passed()
        && in_time(block, recorded)
        && rule.admits(&event.by, &requester)
        && names_plan
        && names_inputs;
    if counts {
        block
            .votes
            .entry(event.by.person().clone())
            .or_insert(recorded.time());
    }
    Ok(())
}

pub(super) fn rejected(known: &mut Known, recorded: &Recorded, event: &ExecutionRejected) -> Fold {
    let requester = known.intent.actor.clone();
    let step = moving_step(known, event.run_id, &event.step_id)?;
    let counts = step.block.as_ref().is_some_and(|block| {
        block.opened.block_id == event.block_id
            && !block.is_passed()
            && in_time(block, recorded)
            && block.opened.approval.admits(&event.by, &requester)
    });
    if counts {
        known.stop = Some(Stop {
            code: FailureCode::ApprovalRejected,
            step: Some(event.step_id.clone()),
            message: format!("rejected by `{}`: {}", event.by.id, event.reason),
        });
    }
    Ok(())
}

fn in_time(block: &Block, vote: &Recorded) -> bool {
    planted::is(Bug::LateVote) || vote.time() < block.opened.expires_at
}

pub(super) fn started(known: &mut Known, recorded: &Recorded, event: &StepStarted) -> Fold {
    let run = running(known, event.run_id)?;
    let compiled = Arc::clone(&run.judged.compiled);
    let plan_step = compiled.plan.step(&event.step_id);
    if !plan_step.is_some_and(|step| ready(run, step)) {
        return Err("a step that it needs is not completed".to_owned());
    }
    let step = if planted::is(Bug::SiblingStarts) {
        step(known, event.run_id, &event.step_id)?
    } else {
        moving_step(known, event.run_id, &event.step_id)?
    };
    if event.attempt != step.attempts + 1 {
        return Err(format!("attempt {} is next", step.attempts + 1));
    }
    match (&step.state, event.takeover) {
        (StepState::Started(_), true) => {}
        (StepState::Pending | StepState::RetryWait { .. }, false)
            if step.open_block().is_none() => {}
        _ => return Err("the step is not waiting to start".to_owned()),
    }
    step.attempts = event.attempt;
    step.tokens.insert(event.attempt, event.token_hash);
    if !event.takeover {
        // What was reported of an attempt before did not end the step.
        step.report = None;
    }
    if !event.takeover || planted::is(Bug::TakeoverIsRetry) {
        step.tries += 1;
    }
    step.state = StepState::Started(Attempt {
        number: event.attempt,
        owner: event.owner,
        wake: recorded.attributes.causation,
        started_at: event.started_at,
        timeout_at: event.timeout_at,
        inputs_digest: event.inputs_digest,
        token_hash: event.token_hash,
    });
    Ok(())
}

pub(super) fn accepted(known: &mut Known, event: &StepAccepted) -> Fold {
    let step = step(known, event.run_id, &event.step_id)?;
    let StepState::Started(attempt) = &step.state else {
        return Err("the step is not under way".to_owned());
    };
    if attempt.number != event.attempt {
        return Err(format!("attempt {} is under way", attempt.number));
    }
    step.state = StepState::Accepted {
        attempt: event.attempt,
        expires_at: event.expires_at,
    };
    Ok(())
}

/// The report ends nothing by itself; it is what whoever drives acts on.
pub(super) fn reported(known: &mut Known, event: &StepReported) -> Fold {
    let step = step(known, event.run_id, &event.step_id)?;
    let counts = match event.outcome {
        ReportedOutcome::Completed => step.may_succeed(),
        ReportedOutcome::Failed => step.in_flight(),
    };
    if !counts {
        return Err("the step is not under way".to_owned());
    }
    if event.attempt == 0 || event.attempt > step.attempts {
        return Err(format!("attempt {} was never started", event.attempt));
    }
    if step.last_report().is_some() {
        return Err("it was reported before".to_owned());
    }
    step.report = Some(Arc::new(event.clone()));
    Ok(())
}

/// The first success for a step's key counts, whichever attempt brought it, also where a later
/// attempt failed meanwhile and the step waits to start again.
pub(super) fn completed(known: &mut Known, event: &StepCompleted) -> Fold {
    let step = step(known, event.run_id, &event.step_id)?;
    if event.attempt == 0 || event.attempt > step.attempts {
        return Err(format!("attempt {} was never started", event.attempt));
    }
    match step.state {
        StepState::Started(_)
        | StepState::Accepted { .. }
        | StepState::RetryWait { .. }
        | StepState::Pending
        | StepState::Proposed { .. } => {
            // What was reported was done by then, whoever read it when.
            let report = step.report.take();
            let reported = report.filter(|report| report.attempt == event.attempt);
            let at = reported.map_or(event.completed_at, |report| report.reported_at);
            step.state = StepState::Completed {
                output: Arc::new(event.output.clone()),
            };
            ended_well(known, event.run_id, at)
        }
        _ => Err("the step has ended before".to_owned()),
    }
}

fn ended_well(known: &mut Known, run: RunId, at: Timestamp) -> Fold {
    let run = running(known, run)?;
    run.last_end_at = run.last_end_at.max(at);
    Ok(())
}

pub(super) fn failed(known: &mut Known, event: &StepFailed) -> Fold {
    let stopping = known.stop.is_some();
    let step = step(known, event.run_id, &event.step_id)?;
    if !step.in_flight() || event.attempt != step.attempts {
        return Err("the attempt is not under way".to_owned());
    }
    step.report = None;
    if let Some(at) = event.next_attempt_at {
        if stopping {
            return Err("nothing is tried again while it stops".to_owned());
        }
        step.state = StepState::RetryWait { at };
        return Ok(());
    }
    step.state = StepState::Failed {
        code: event.error_code.clone(),
        message: event.error_message.clone(),
        outcome: event.outcome,
    };
    if !stopping {
        let detail = event.error_message.as_deref().unwrap_or("no message");
        known.stop = Some(Stop {
            code: FailureCode::StepFailed,
            step: Some(event.step_id.clone()),
            message: format!(
                "step `{}` failed with `{}`: {detail}",
                event.step_id, event.error_code
            ),
        });
    }
    Ok(())
}

pub(super) fn skipped(known: &mut Known, event: &StepSkipped) -> Fold {
    let step = moving_step(known, event.run_id, &event.step_id)?;
    match step.state {
        StepState::Pending | StepState::Proposed { .. } | StepState::RetryWait { .. } => {
            step.state = StepState::Skipped;
            ended_well(known, event.run_id, event.skipped_at)
        }
        _ => Err("the step is not waiting to start".to_owned()),
    }
}
