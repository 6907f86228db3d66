//! The executor's events. What a worker brought is an input; whatever else the executor stored
//! must be what `drive` asks for first.
//!
//! Some things that `drive` depends on are not in every event: which process decided, which
//! deliveries had just come to it, and what it was at work on. They are free only where they may
//! matter: for the very attempt that the event takes over or gives up.

use std::collections::BTreeSet;

use contracts::{
    canonical::Digest,
    event::Event,
    events::executor::{StepAccepted, StepCompleted, StepFailed},
    ids::{EventId, Incarnation, StepId},
    plan::PlanStep,
    record::Recorded,
};
use domain::{
    catalogue::{Builtin, Catalogue, EntryPoint, InstalledSkill},
    execution::{
        Execution, Known, Run, Step, StepState,
        ending::{self, Failure, Outcome},
        running::{self, Context},
        steps,
    },
    schema,
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    derived::{Derived, Memory},
    execution::first,
    report::What,
};

pub(super) fn driven(state: &Execution, recorded: &Recorded, memory: &mut Memory<'_>) -> Derived {
    memory.decided(
        named_catalogue(&recorded.event),
        recorded,
        |_, catalogue| possible(state, recorded, catalogue),
    )
}

/// The catalogue that a decision of the executor names.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the others were not decided on the catalogue"
)]
fn named_catalogue(event: &Event) -> Option<u64> {
    match event {
        Event::StepProposed(event) => Some(event.catalogue),
        Event::StepBlocked(event) => Some(event.catalogue),
        Event::StepStarted(event) => Some(event.catalogue),
        Event::ExecutionStopping(event) => event.catalogue,
        Event::ExecutionFailed(event) => event.catalogue,
        _ => None,
    }
}

/// What `drive` may ask for first.
fn possible(state: &Execution, recorded: &Recorded, catalogue: &Catalogue) -> Vec<Event> {
    let mut possible = Vec::new();
    for outside in outsides(state, &recorded.event) {
        let context = Context {
            now: recorded.time(),
            owner: outside.owner,
            fresh: &outside.fresh,
            under_way: &|step, _| outside.lost != Some(step),
            // Who is given the wake-up of an attempt ends it just so, and is among the outsides.
            overdue: &|_, _| false,
            catalogue,
            token_hash: &|_, _| outside.token_hash,
        };
        possible.extend(first(running::drive(state, &context)));
    }
    possible
}

/// What a decision of the executor depended on beside state, time and catalogue.
struct Outside<'a> {
    owner: Incarnation,
    fresh: BTreeSet<EventId>,
    /// The step whose attempt the process is not at work on, though it started it.
    lost: Option<&'a StepId>,
    /// The token is drawn; only its hash is recorded.
    token_hash: Digest,
}

/// The possible ones, the likeliest first.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only starts and failures depend on who decides"
)]
fn outsides<'a>(state: &Execution, event: &'a Event) -> Vec<Outside<'a>> {
    let nobody = Outside {
        owner: Incarnation::of(Uuid::nil()),
        fresh: BTreeSet::new(),
        lost: None,
        token_hash: Digest::of(&[]),
    };
    match event {
        Event::StepStarted(event) => vec![Outside {
            owner: event.owner,
            token_hash: event.token_hash,
            fresh: if event.takeover {
                left_under(state, &event.step_id)
            } else {
                BTreeSet::new()
            },
            lost: event.takeover.then_some(&event.step_id),
        }],
        Event::StepFailed(event) => {
            let owners = owners_of(state).into_iter();
            let left = owners.chain([nobody.owner]).map(|owner| Outside {
                owner,
                fresh: left_under(state, &event.step_id),
                lost: Some(&event.step_id),
                token_hash: nobody.token_hash,
            });
            let left: Vec<_> = left.collect();
            std::iter::once(nobody).chain(left).collect()
        }
        _ => vec![nobody],
    }
}

fn run(state: &Execution) -> Option<(&Known, &Run)> {
    let known = state.known()?;
    Some((known, known.run()?))
}

/// The wake-up under which the attempt of a step was left.
fn left_under(state: &Execution, step: &StepId) -> BTreeSet<EventId> {
    let step = run(state).and_then(|(_, run)| run.steps.get(step));
    step.and_then(Step::attempt)
        .and_then(|attempt| attempt.wake)
        .into_iter()
        .collect()
}

fn owners_of(state: &Execution) -> BTreeSet<Incarnation> {
    let steps = run(state)
        .into_iter()
        .flat_map(|(_, run)| run.steps.values());
    steps
        .filter_map(Step::attempt)
        .map(|attempt| attempt.owner)
        .collect()
}

/// A step of the plan that runs, and the skill that it uses.
struct Used<'a> {
    run: &'a Run,
    step: &'a PlanStep,
    skill: &'a InstalledSkill,
}

fn used<'a>(state: &'a Execution, step: &StepId, catalogue: &'a Catalogue) -> Option<Used<'a>> {
    let (known, run) = run(state)?;
    let step = run.judged.compiled.plan.step(step)?;
    let skill = catalogue.skill(&known.workspace, &step.uses)?;
    Some(Used { run, step, skill })
}

impl Used<'_> {
    fn is(&self, builtin: Builtin) -> bool {
        self.skill.entry_point == EntryPoint::Builtin(builtin)
    }
}

pub(super) fn completed(
    state: &Execution,
    event: &StepCompleted,
    recorded: &Recorded,
    memory: &mut Memory<'_>,
) -> Derived {
    // A pin is one content, so any later catalogue says the same of it.
    let catalogue = memory.past.latest();
    let used = used(state, &event.step_id, &catalogue);
    if used.as_ref().is_some_and(|used| used.is(Builtin::Wait)) {
        return driven(state, recorded, memory);
    }
    if let Some(used) = used.as_ref().filter(|used| used.is(Builtin::Echo)) {
        // It runs inside the executor: its answer is its input.
        let echoed = steps::inputs(used.run, used.step).unwrap_or(Value::Null);
        return match end(state, event, &echoed, recorded) {
            Ok(event) => Derived::Decision(event),
            Err(refused) => refused_outcome(refused),
        };
    }
    if is_completed_later(state, event) {
        // Only a report ends it so.
        return driven(state, recorded, memory);
    }
    if let Some(misfit) = used.and_then(|used| misfit(&used, &event.output)) {
        return Derived::Nothing(What::Outcome, misfit);
    }
    match end(state, event, &event.output, recorded) {
        Ok(event) => Derived::Input(What::Outcome, event),
        Err(refused) => refused_outcome(refused),
    }
}

/// Whether the attempt waits for what is reported of it from outside: its worker has answered.
fn is_completed_later(state: &Execution, event: &StepCompleted) -> bool {
    let step = run(state).and_then(|(_, run)| run.steps.get(&event.step_id));
    step.is_some_and(|step| {
        matches!(step.state, StepState::Accepted { attempt, .. } if attempt == event.attempt)
    })
}

/// How long a step may take that is completed later is its worker's word.
pub(super) fn accepted(state: &Execution, event: &StepAccepted, recorded: &Recorded) -> Derived {
    let outcome = Outcome::Accepted {
        within_ms: event.expires_at.since_ms(event.accepted_at),
    };
    let (step, attempt) = (&event.step_id, event.attempt);
    match ending::end(state, step, attempt, &outcome, recorded.time()) {
        Ok(event) => Derived::Input(What::Outcome, event),
        Err(refused) => refused_outcome(refused),
    }
}

fn end(
    state: &Execution,
    event: &StepCompleted,
    output: &Value,
    recorded: &Recorded,
) -> Result<Event, ending::Refused> {
    let outcome = Outcome::Completed(output.clone());
    let (step, attempt) = (&event.step_id, event.attempt);
    ending::end(state, step, attempt, &outcome, recorded.time())
}

fn refused_outcome(refused: ending::Refused) -> Derived {
    Derived::Nothing(What::Outcome, format!("it is refused: {refused}"))
}

/// The executor takes no output that its action does not declare.
fn misfit(used: &Used<'_>, output: &Value) -> Option<String> {
    let action = used.skill.metadata.actions.get(&used.step.action)?;
    let said = match schema::faults(&action.output, output) {
        Ok(faults) if faults.is_empty() => return None,
        Ok(faults) => faults
            .iter()
            .map(|fault| format!("{} {}", fault.path, fault.message))
            .collect::<Vec<_>>()
            .join("; "),
        Err(error) => error.to_string(),
    };
    Some(format!("the output does not fit the action: {said}"))
}

pub(super) fn failed(
    state: &Execution,
    event: &StepFailed,
    recorded: &Recorded,
    memory: &mut Memory<'_>,
) -> Derived {
    let found = memory.find(None, recorded, |_, catalogue| {
        possible(state, recorded, catalogue)
    });
    let found = match found {
        Ok(found) => found,
        Err(error) => return error.into(),
    };
    if let Some(event) = found.same {
        return Derived::Decision(event);
    }
    let catalogue = memory.past.latest();
    let waits = used(state, &event.step_id, &catalogue).is_some_and(|used| used.is(Builtin::Wait));
    if waits {
        // Nobody outside ends it.
        return match found.likeliest {
            Some(event) => Derived::Decision(event),
            None => Derived::nothing_decided(),
        };
    }
    let outcome = Outcome::Failed(Failure {
        code: event.error_code.clone(),
        message: event.error_message.clone(),
        retryable: event.retryable,
        outcome: event.outcome,
    });
    match ending::end(
        state,
        &event.step_id,
        event.attempt,
        &outcome,
        recorded.time(),
    ) {
        Ok(event) => Derived::Input(What::Outcome, event),
        Err(refused) => refused_outcome(refused),
    }
}
