//! One step of a run: when it may start, what it waits for, and when it stops the run.
//!
//! * [`permission`]: what policy and people say of it

use contracts::{
    canonical::Digest,
    event::Event,
    events::executor::{
        EffectOutcome, FailureCode, StepBlocked, StepCompleted, StepProposed, StepStarted,
    },
    facts::facts_digest,
    ids::{BlockId, ExecutionId, StepId},
    plan::PlanStep,
    planted::{self, Bug},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Attempt, Block, Known, RULES, Run, Step, StepState, Stop,
    ending::{self, Failure, Outcome},
    running::{Context, Read, Reason, abandoned},
};
use crate::{
    binding,
    catalogue::{Builtin, Catalogue, EntryPoint, InstalledSkill, wait_ms},
    compile,
};

mod permission;

use permission::Permission;

/// What a step asks for.
pub(super) enum Next {
    Idle,
    /// It is started, taken over, proposed or blocked.
    GoesOn(Event),
    /// Its attempt failed.
    Failed(Event),
    /// Its time has passed, or it was reported.
    Completed(Event),
    Stop(Reason),
}

/// The key under which the effect of a step happens at most once: the same for every attempt,
/// never the same for two executions of one plan.
pub fn idempotency_key(execution: ExecutionId, step: &StepId) -> Digest {
    // Fan-out index and generation are both zero until there is fan-out and re-running.
    let zero = 0_u32.to_be_bytes();
    let execution = if planted::is(Bug::KeyForgetsExecution) {
        // A step has one key.
        String::new()
    } else {
        execution.to_string()
    };
    Digest::of_parts([
        execution.as_bytes(),
        step.as_str().as_bytes(),
        b"run",
        &zero,
        &zero,
    ])
}

/// A step's inputs as they are dispatched, once what they come from is completed.
pub fn inputs(run: &Run, step: &PlanStep) -> Result<Value, Vec<binding::Unresolved>> {
    binding::resolve(&step.with, |id| run.output(id))
}

pub(super) fn next(known: &Known, run: &Run, step: &PlanStep, context: &Context<'_>) -> Next {
    let Some(state) = run.steps.get(&step.id) else {
        return Next::Idle;
    };
    if let Some(event) = reported_end(known, run, step, context) {
        return if matches!(event, Event::StepFailed(_)) {
            Next::Failed(event)
        } else {
            Next::Completed(event)
        };
    }
    match &state.state {
        StepState::Started(attempt) => under_way(known, run, step, attempt, context),
        StepState::RetryWait { at } if context.now < *at => Next::Idle,
        StepState::Pending | StepState::RetryWait { .. } => match state.open_block() {
            // Also while the run is paused: who may still vote may also be too late.
            Some(block) => expired(step, block, context).map_or(Next::Idle, Next::Stop),
            None if run.paused || !ready(run, step) => Next::Idle,
            None => to_start(known, run, step, state, context),
        },
        StepState::Accepted {
            attempt,
            expires_at,
        } if context.now >= *expires_at => timed_out(known, run, step, state, *attempt, context),
        // The verifier's turn; completed from outside, in its own time; or ended.
        StepState::Proposed { .. }
        | StepState::Accepted { .. }
        | StepState::Completed { .. }
        | StepState::Failed { .. }
        | StepState::Skipped => Next::Idle,
    }
}

/// The end that was reported from outside, by whichever process comes to know of it.
pub(super) fn reported_end(
    known: &Known,
    run: &Run,
    step: &PlanStep,
    context: &Context<'_>,
) -> Option<Event> {
    let state = run.steps.get(&step.id)?;
    let report = state.last_report()?;
    let skill = context.catalogue.skill(&known.workspace, &step.uses);
    let outcome = Outcome::of_report(report, skill, step);
    // A success that is none ends whatever attempt is under way: the report has been taken.
    let is_none = matches!(outcome, Outcome::Failed(_));
    let attempt = if is_none {
        state.attempts
    } else {
        report.attempt
    };
    ending::ended(known, run, step, state, attempt, &outcome, context.now).ok()
}

fn timed_out(
    known: &Known,
    run: &Run,
    step: &PlanStep,
    state: &Step,
    attempt: u32,
    context: &Context<'_>,
) -> Next {
    let failure = Failure::timed_out();
    let now = context.now;
    Next::Failed(ending::failed(
        known, run, step, state, attempt, &failure, now,
    ))
}

/// Whether everything it needs is there.
pub(super) fn ready(run: &Run, step: &PlanStep) -> bool {
    step.needs.iter().all(|id| {
        run.steps.get(id).is_some_and(|need| {
            matches!(need.state, StepState::Completed { .. } | StepState::Skipped)
        })
    })
}

fn expired(step: &PlanStep, block: &Block, context: &Context<'_>) -> Option<Reason> {
    (context.now >= block.opened.expires_at).then(|| {
        let message = format!("nobody approved step `{}` in time", step.id);
        Reason::of_step(FailureCode::ApprovalExpired, &step.id, message)
    })
}

/// Nothing keeps it from starting but what policy says now: while a block is open, policy is not
/// asked, as its answer may change until the votes are there.
fn to_start(
    known: &Known,
    run: &Run,
    step: &PlanStep,
    state: &Step,
    context: &Context<'_>,
) -> Next {
    let inputs = match inputs(run, step) {
        Ok(inputs) => inputs,
        Err(unresolved) => {
            let message: Vec<String> = unresolved.iter().map(ToString::to_string).collect();
            return Next::Stop(Reason::of_step(
                FailureCode::StepFailed,
                &step.id,
                format!(
                    "the inputs of step `{}` cannot be bound: {}",
                    step.id,
                    message.join("; ")
                ),
            ));
        }
    };
    let skill = context.catalogue.skill(&known.workspace, &step.uses);
    let read = Read {
        policy_version: context.catalogue.policy_version(&known.workspace),
        skill_enabled: Some(skill.is_some_and(|skill| skill.enabled)),
    };
    let Some(skill) = skill.filter(|skill| skill.enabled) else {
        let message = format!("skill `{}` is not available any more", step.uses);
        return Next::Stop(Reason {
            read: Some(read),
            ..Reason::of_step(FailureCode::SkillUnavailable, &step.id, message)
        });
    };
    if let Some(reason) = misfit(step, skill, &inputs) {
        let read = Some(read);
        return Next::Stop(Reason { read, ..reason });
    }
    let inputs_digest = facts_digest(&inputs);
    let run_id = run.id(known.id);
    let event = match permission::of(run, step, state, inputs_digest, read.policy_version) {
        Permission::Asked(reason) => StepProposed {
            execution_id: known.id,
            run_id,
            step_id: step.id.clone(),
            inputs,
            inputs_digest,
            reason,
            proposed_at: context.now,
            catalogue: context.catalogue.sequence(),
            facts_digest: read.digest(),
            rules: RULES,
        }
        .into(),
        Permission::Given => started(known, run, step, state, inputs_digest, &read, context),
        Permission::ByPeople { rule, reason } => StepBlocked {
            execution_id: known.id,
            run_id,
            step_id: step.id.clone(),
            blocked_at: context.now,
            reason,
            block_id: block_id(known.id, &step.id, state.blocks + 1),
            plan_hash: run.judged.compiled.deterministic_hash,
            inputs_digest,
            expires_at: context.now.plus_ms(rule.expires_after_ms),
            approval: rule,
            catalogue: context.catalogue.sequence(),
            facts_digest: read.digest(),
            rules: RULES,
        }
        .into(),
        Permission::Refused(reason) => {
            let message = format!("policy blocks step `{}`: {reason}", step.id);
            return Next::Stop(Reason {
                read: Some(read),
                ..Reason::of_step(FailureCode::PolicyBlocked, &step.id, message)
            });
        }
    };
    Next::GoesOn(event)
}

/// Whether the inputs that have become known fit the action.
fn misfit(step: &PlanStep, skill: &InstalledSkill, inputs: &Value) -> Option<Reason> {
    if !step.has_bindings() {
        // Checked when the plan was compiled.
        return None;
    }
    let action = skill.metadata.actions.get(&step.action)?;
    let faults = match compile::inputs::faults(&action.input, inputs) {
        Ok(faults) if faults.is_empty() => return None,
        Ok(faults) => faults
            .iter()
            .map(|fault| format!("{} {}", fault.path, fault.message))
            .collect::<Vec<_>>()
            .join("; "),
        Err(error) => error.to_string(),
    };
    let message = format!("the inputs of step `{}` do not fit: {faults}", step.id);
    Some(Reason::of_step(FailureCode::StepFailed, &step.id, message))
}

fn block_id(execution: ExecutionId, step: &StepId, number: u32) -> BlockId {
    let name = format!("block\n{step}\n{number}");
    BlockId::of(Uuid::new_v5(&execution.uuid(), name.as_bytes()))
}

fn started(
    known: &Known,
    run: &Run,
    step: &PlanStep,
    state: &Step,
    inputs_digest: Digest,
    read: &Read,
    context: &Context<'_>,
) -> Event {
    let attempt = state.attempts + 1;
    StepStarted {
        execution_id: known.id,
        run_id: run.id(known.id),
        step_id: step.id.clone(),
        started_at: context.now,
        attempt,
        takeover: false,
        owner: context.owner,
        idempotency_key: idempotency_key(known.id, &step.id),
        pin: step.uses.clone(),
        inputs_digest,
        token_hash: (context.token_hash)(&step.id, attempt),
        timeout_at: context.now.plus_ms(step.timeout_ms),
        catalogue: context.catalogue.sequence(),
        facts_digest: read.digest(),
        rules: RULES,
    }
    .into()
}

/// How a step's skill runs, where it is known.
pub(super) fn entry_point<'a>(
    known: &Known,
    step: &PlanStep,
    catalogue: &'a Catalogue,
) -> Option<&'a EntryPoint> {
    let skill = catalogue.skill(&known.workspace, &step.uses)?;
    Some(&skill.entry_point)
}

/// When a `core.wait` that was started is over.
pub fn wait_over(run: &Run, step: &PlanStep, attempt: &Attempt) -> contracts::time::Timestamp {
    let inputs = inputs(run, step).ok();
    let ms = inputs.and_then(|inputs| wait_ms(&inputs)).unwrap_or(0);
    attempt.started_at.plus_ms(ms)
}

/// Whether the effect of a step is that time passes: it is no process's, and nobody takes it over.
/// The key is reserved.
pub fn passes_time(step: &PlanStep) -> bool {
    step.uses.key.as_str() == "core.wait"
}

fn is_wait(known: &Known, step: &PlanStep, catalogue: &Catalogue) -> bool {
    entry_point(known, step, catalogue) == Some(&EntryPoint::Builtin(Builtin::Wait))
}

fn under_way(
    known: &Known,
    run: &Run,
    step: &PlanStep,
    attempt: &Attempt,
    context: &Context<'_>,
) -> Next {
    if is_wait(known, step, context.catalogue) {
        // Its effect is that time passes, so no process owns it.
        let over = wait_over(run, step, attempt);
        if context.now < over {
            return Next::Idle;
        }
        let output = json!({ "waitedMs": over.since_ms(attempt.started_at) });
        return Next::Completed(
            StepCompleted {
                execution_id: known.id,
                run_id: run.id(known.id),
                step_id: step.id.clone(),
                completed_at: context.now,
                attempt: attempt.number,
                output_digest: facts_digest(&output),
                output,
                rules: RULES,
            }
            .into(),
        );
    }
    if !left_behind(&step.id, attempt, context) {
        // Its owner brings the end.
        return Next::Idle;
    }
    let Some(state) = run.steps.get(&step.id) else {
        return Next::Idle;
    };
    if context.now >= attempt.timeout_at {
        return timed_out(known, run, step, state, attempt.number, context);
    }
    Next::GoesOn(taken_over(known, run, step, attempt, context))
}

/// Whether the attempt is nobody's: another process left it under a wake-up that has now come
/// here, or has let its time pass, or this one lost sight of it.
fn left_behind(step: &StepId, attempt: &Attempt, context: &Context<'_>) -> bool {
    if attempt.owner == context.owner {
        return !(context.under_way)(step, attempt.number);
    }
    if planted::is(Bug::ForeignWakeUp) {
        // Who is woken drives.
        return !context.fresh.is_empty();
    }
    let given_here = attempt
        .wake
        .is_some_and(|wake| context.fresh.contains(&wake));
    // However far this process's clock is ahead: a timer counts the time by the broker's.
    given_here || (context.now >= attempt.timeout_at && (context.overdue)(step, attempt.number))
}

/// The same effect under the same key, by this process; not a retry. What was allowed when the
/// attempt started is not asked again: the effect may have happened.
fn taken_over(
    known: &Known,
    run: &Run,
    step: &PlanStep,
    attempt: &Attempt,
    context: &Context<'_>,
) -> Event {
    let number = attempt.number + 1;
    let read = Read {
        policy_version: None,
        skill_enabled: None,
    };
    StepStarted {
        execution_id: known.id,
        run_id: run.id(known.id),
        step_id: step.id.clone(),
        started_at: context.now,
        attempt: number,
        takeover: true,
        owner: context.owner,
        idempotency_key: idempotency_key(known.id, &step.id),
        pin: step.uses.clone(),
        inputs_digest: attempt.inputs_digest,
        token_hash: (context.token_hash)(&step.id, number),
        timeout_at: context.now.plus_ms(step.timeout_ms),
        catalogue: context.catalogue.sequence(),
        facts_digest: read.digest(),
        rules: RULES,
    }
    .into()
}

/// While the run stops: the end of an effect that nobody else ends.
pub(super) fn stopped(
    known: &Known,
    run: &Run,
    step: &PlanStep,
    why: &Stop,
    context: &Context<'_>,
) -> Option<Event> {
    let code = why.code.as_str();
    let state = run.steps.get(&step.id)?;
    if let Some(event) = reported_end(known, run, step, context) {
        return Some(event);
    }
    match &state.state {
        StepState::Started(attempt) if is_wait(known, step, context.catalogue) => Some(abandoned(
            known,
            run,
            &step.id,
            attempt.number,
            code,
            EffectOutcome::NotDone,
            context.now,
        )),
        StepState::Started(attempt) if left_behind(&step.id, attempt, context) => Some(abandoned(
            known,
            run,
            &step.id,
            attempt.number,
            "ABANDONED",
            EffectOutcome::Unknown,
            context.now,
        )),
        StepState::Accepted { attempt, .. } => Some(abandoned(
            known,
            run,
            &step.id,
            *attempt,
            code,
            EffectOutcome::Unknown,
            context.now,
        )),
        StepState::Started(_)
        | StepState::Pending
        | StepState::Proposed { .. }
        | StepState::RetryWait { .. }
        | StepState::Completed { .. }
        | StepState::Failed { .. }
        | StepState::Skipped => None,
    }
}
