//! The events of an execution, derived from the state before them.

use contracts::{event::Event, record::Recorded};
use domain::execution::{Execution, planning};

use super::{
    asked,
    derived::{Derived, Memory, is_planners},
    executor,
    report::What,
};

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what belongs to other kinds of aggregates is illegal here, which the fold says"
)]
pub(super) fn derive(state: &Execution, recorded: &Recorded, memory: &mut Memory<'_>) -> Derived {
    if let Some(derived) = asked::derive(state, recorded) {
        return derived;
    }
    match &recorded.event {
        // What it was decided on is not in it.
        Event::DraftRequested(_) => planned(state, recorded, None, memory),
        Event::PlanCompiled(event) => planned(state, recorded, Some(event.catalogue), memory),
        Event::PlanRejected(event) if is_planners(event.cause) => {
            planned(state, recorded, event.catalogue, memory)
        }
        // It follows from the verdict alone.
        Event::PlanRejected(_) => judged(state, recorded, None, memory),
        Event::PlanVerified(event) => judged(state, recorded, Some(event.catalogue), memory),
        Event::StepJudged(event) => judged(state, recorded, Some(event.catalogue), memory),
        Event::StepCompleted(event) => executor::completed(state, event, recorded, memory),
        Event::StepFailed(event) => executor::failed(state, event, recorded, memory),
        Event::StepAccepted(event) => executor::accepted(state, event, recorded),
        Event::ExecutionStarted(_)
        | Event::StepProposed(_)
        | Event::StepBlocked(_)
        | Event::StepStarted(_)
        | Event::ExecutionStopping(_)
        | Event::ExecutionCompleted(_)
        | Event::ExecutionFailed(_) => executor::driven(state, recorded, memory),
        event => Derived::Nothing(
            What::Decision,
            format!("no decider of these rules writes `{}`", event.name()),
        ),
    }
}

fn planned(
    state: &Execution,
    recorded: &Recorded,
    catalogue: Option<u64>,
    memory: &mut Memory<'_>,
) -> Derived {
    memory.decided(catalogue, recorded, |_, catalogue| {
        first(planning::decide(state, catalogue, recorded.time()))
    })
}

/// Of several verdicts that are asked for, the first is stored first.
fn judged(
    state: &Execution,
    recorded: &Recorded,
    catalogue: Option<u64>,
    memory: &mut Memory<'_>,
) -> Derived {
    memory.decided(catalogue, recorded, |judge, catalogue| {
        first(judge.execution(state, catalogue, recorded.time()))
    })
}

/// A decision of several events is stored one by one, and the decider goes on from there: the
/// first one is next, whatever was stored of the rest.
pub(super) fn first(mut events: Vec<Event>) -> Vec<Event> {
    events.truncate(1);
    events
}
