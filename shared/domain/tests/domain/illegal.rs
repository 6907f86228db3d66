//! What each event may follow: everything else folds to `Corrupt`, and nothing follows that.

use std::fmt::Write as _;

use contracts::{
    event::{Event, EventName, Service},
    events::{executor, planner, verifier},
    ids::{PlanId, RunId},
    plan::{Mode, Status},
    record::{Cause, Recorded, seal},
    subject::AggregateId,
};
use domain::execution::Execution;
use expect_test::expect_file;
use uuid::Uuid;

use super::kit::{
    Input, World, after, at, bound, execution_id, given, process,
    samples::sample,
    states::{states, with},
    step, submission, submitted,
};

#[test]
fn each_event_is_legal_only_where_it_may_follow() {
    let mut table = String::new();
    for (name, world) in states() {
        writeln!(table, "{name}:").unwrap();
        for event in EventName::ALL {
            if !matches!(with(world.clone(), event).state, Execution::Corrupt(_)) {
                writeln!(table, "    {event}").unwrap();
            }
        }
    }
    expect_file!["legal.txt"].assert_eq(&table);
}

#[test]
fn nothing_follows_what_is_corrupt() {
    let corrupt = with(given(&[step("a")]), EventName::ExecutionStarted).is(Status::Corrupt);
    let state = corrupt.state.clone();
    for event in EventName::ALL {
        let mut world = corrupt.clone();
        world.store(sample(event, &running()), Service::Executor, None);
        assert_eq!(world.state, state);
    }
    corrupt
        .when(Input::Planner)
        .then_nothing()
        .when(Input::Verifier)
        .then_nothing()
        .when_woken(1)
        .then_nothing()
        .when(Input::Cancel("sam"))
        .then_refused("EXECUTION_CORRUPT");
}

#[test]
fn a_hole_in_the_versions_is_corrupt() {
    let world = running();
    let mut log = world.log.clone();
    log.remove(2);
    let Execution::Corrupt(corruption) = Execution::fold(&log) else {
        panic!("a version is missing");
    };
    assert_eq!(
        (corruption.version, corruption.event),
        (4, EventName::ExecutionStarted)
    );
    assert_eq!(corruption.reason, "version 3 is next");
}

#[test]
fn a_version_that_comes_twice_is_corrupt() {
    let mut log = running().log;
    log.insert(2, log[2].clone());
    assert!(matches!(Execution::fold(&log), Execution::Corrupt(_)));
}

#[test]
fn a_history_begins_with_its_first_version() {
    let log = running().log;
    assert!(matches!(Execution::fold(&log[1..]), Execution::Corrupt(_)));
    let mut late = log[0].clone();
    late.subject.version = 2;
    assert!(matches!(Execution::fold([&late]), Execution::Corrupt(_)));
}

#[test]
fn an_intent_of_another_execution_is_corrupt() {
    let mut other = given(&[step("a")]).log[0].clone();
    let Event::IntentReceived(intent) = &mut other.event else {
        panic!("the first event is the intent");
    };
    intent.execution_id = contracts::ids::ExecutionId::of(Uuid::nil());
    assert!(matches!(Execution::fold([&other]), Execution::Corrupt(_)));
}

#[test]
fn an_event_of_another_run_is_corrupt() {
    for name in [
        EventName::StepStarted,
        EventName::StepCompleted,
        EventName::StepFailed,
        EventName::StepAccepted,
        EventName::ExecutionStopping,
        EventName::Paused,
    ] {
        // With the run's own number all but the first are legal.
        let mut world = running();
        let mut event = sample(name, &world);
        let other = RunId {
            execution: execution_id(),
            number: 2,
        };
        match &mut event {
            Event::StepStarted(event) => event.run_id = other,
            Event::StepCompleted(event) => event.run_id = other,
            Event::StepFailed(event) => event.run_id = other,
            Event::StepAccepted(event) => event.run_id = other,
            Event::ExecutionStopping(event) => event.run_id = Some(other),
            Event::Paused(event) => event.run_id = other,
            other => panic!("{other:?}"),
        }
        world.store(event, Service::Executor, None);
        world.is(Status::Corrupt);
    }
}

#[track_caller]
fn corrupts(world: World, event: impl Into<Event>) {
    let mut world = world;
    world.store(event.into(), Service::Executor, None);
    world.is(Status::Corrupt);
}

#[test]
fn details_that_contradict_the_history_are_corrupt() {
    let Event::StepStarted(started) = sample(EventName::StepStarted, &proposed_to_start()) else {
        panic!("a started step");
    };
    let skipped = executor::StepStarted {
        attempt: started.attempt + 1,
        ..started.clone()
    };
    corrupts(proposed_to_start(), skipped);
    let too_early = executor::StepStarted {
        step_id: "b".parse().unwrap(),
        ..started.clone()
    };
    corrupts(proposed_to_start(), too_early);
    let unknown = executor::StepStarted {
        step_id: "z".parse().unwrap(),
        ..started.clone()
    };
    corrupts(proposed_to_start(), unknown);
    let nothing_to_take_over = executor::StepStarted {
        takeover: true,
        ..started
    };
    corrupts(proposed_to_start(), nothing_to_take_over);
    let Event::ExecutionFailed(failed) = sample(
        EventName::ExecutionFailed,
        &given(&[step("a")]).when(Input::Cancel("sam")),
    ) else {
        panic!("a failed execution");
    };
    let for_another_reason = executor::ExecutionFailed {
        error_code: executor::FailureCode::StepFailed,
        ..failed.clone()
    };
    corrupts(
        given(&[step("a")]).when(Input::Cancel("sam")),
        for_another_reason,
    );
    // Nobody cancelled.
    corrupts(given(&[step("a")]), failed);
    let Event::DraftRequested(requested) =
        sample(EventName::DraftRequested, &submitted(submission(None)))
    else {
        panic!("a requested draft");
    };
    let second = planner::DraftRequested {
        attempt: 2,
        ..requested
    };
    corrupts(submitted(submission(None)), second);
    let Event::PlanVerified(verified) =
        sample(EventName::PlanVerified, &given(&[step("a")]).planned())
    else {
        panic!("a verified plan");
    };
    let of_another = verifier::PlanVerified {
        plan_id: PlanId::of(Uuid::nil()),
        ..verified
    };
    corrupts(given(&[step("a")]).planned(), of_another);
    let Event::ExecutionStarted(run) =
        sample(EventName::ExecutionStarted, &given(&[step("a")]).judged())
    else {
        panic!("a started run");
    };
    let looser = executor::ExecutionStarted {
        mode: Mode::Assist,
        ..run
    };
    corrupts(given(&[step("a")]).judged(), looser);
}

#[test]
fn a_rejection_is_legal_only_in_the_state_of_its_cause() {
    use planner::RejectionCause::{Compile, DraftTimeout, Policy};
    let awaiting = || submitted(submission(None)).when(Input::Planner);
    let received = || given(&[step("a")]);
    for (world, cause, is_final) in [
        (received(), DraftTimeout, true),
        (received(), Policy, true),
        (received(), Compile, false),
        (awaiting(), Compile, true),
        (awaiting(), DraftTimeout, false),
        (received().planned(), Policy, true),
        (received().judged(), Policy, true),
    ] {
        let Event::PlanRejected(rejected) = sample(EventName::PlanRejected, &world) else {
            panic!("a rejected plan");
        };
        let event = planner::PlanRejected {
            cause,
            is_final,
            ..rejected
        };
        corrupts(world, event);
    }
}

fn running() -> World {
    given(&[step("a"), after("b", &["a"])]).driven()
}

/// A run whose step `a` may start and has not.
fn proposed_to_start() -> World {
    let mut world = given(&[step("a"), bound("b", "a")]).judged();
    let started = world
        .decide(&Input::Executor(process(1), world.last_event()))
        .unwrap();
    world.store(started[0].clone(), Service::Executor, None);
    world
}

#[test]
fn the_hash_of_the_first_event_is_what_the_second_is_chained_to() {
    let aggregate = AggregateId::execution(super::kit::workspace(), execution_id());
    let world = given(&[step("a")]).planned();
    let head = world.log[0].head();
    let event = world.log[1].event.clone();
    let cause = Cause {
        id: Some(world.log[0].id()),
        traceparent: None,
    };
    let (_, again) = seal(
        &aggregate,
        Some(&head),
        event,
        Service::Planner,
        &cause,
        at(0),
    )
    .unwrap();
    assert_eq!(again, world.log[1]);
    assert_eq!(again.attributes.prev_hash, Some(world.log[0].hash));
    assert_eq!(world.state.head(), Some(&Recorded::head(&again)));
}
