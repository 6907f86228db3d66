//! What every command is answered in every state, written down for callers.
//!
//! * [`asks`]: the commands, in every way that tells answers apart
//! * [`rows`]: the states
//! * [`page`]: `schemas/answers.md` and `schemas/answers.json`

use std::collections::BTreeSet;

use contracts::{event::Service, problem::Code, registry::OperationName};
use domain::execution::{Execution, Known, Stage, StepState};
use expect_test::expect_file;
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};

use super::kit::{World, life};

mod asks;
mod page;
mod rows;

use asks::{Answer, Ask, asks};
use page::Section;
use rows::rows;

/// From the first stage to the last.
fn sorted() -> Vec<(&'static str, World)> {
    let mut rows = rows();
    rows.sort_by_key(|(_, world)| match &world.state {
        Execution::NeverReceived => 0,
        Execution::Known(known) => {
            1 + STAGES
                .iter()
                .position(|stage| *stage == kinds(known)[0])
                .unwrap()
        }
        Execution::Corrupt(_) => usize::MAX,
    });
    rows
}

fn sections() -> Vec<Section> {
    let rows = sorted();
    let mut sections: Vec<Section> = Vec::new();
    for ask in asks() {
        if sections.last().map(|section| section.operation) != Some(ask.operation) {
            sections.push(Section {
                operation: ask.operation,
                ways: Vec::new(),
                lines: rows.iter().map(|(name, _)| (*name, Vec::new())).collect(),
            });
        }
        let section = sections.last_mut().unwrap();
        section.ways.push(ask.how);
        for ((_, answers), (_, world)) in section.lines.iter_mut().zip(&rows) {
            answers.push((ask.of)(world));
        }
    }
    sections
}

#[test]
fn the_table_is_as_committed() {
    let sections = sections();
    let states: Vec<_> = sorted()
        .iter()
        .map(|(name, world)| (*name, world.state.status()))
        .collect();
    expect_file!["../../../../schemas/answers.md"].assert_eq(&page::markdown(&states, &sections));
    expect_file!["../../../../schemas/answers.json"].assert_eq(&page::json(&sections));
}

/// Asks, stores what follows, and asks again.
#[track_caller]
fn check(name: &str, world: &World, ask: &Ask) {
    let operation = ask.operation.entry();
    let what = format!("{name}: {} {}", operation.key, ask.how);
    match (ask.of)(world) {
        Answer::Appends(events) => {
            let mut world = world.clone();
            for event in events {
                assert!(operation.emits.contains(&event.name()), "{what}");
                world.store(event, Service::Intake, None);
            }
            if let Execution::Corrupt(corruption) = &world.state {
                panic!("{what}: {corruption}");
            }
            let again = (ask.of)(&world);
            assert!(
                matches!(again, Answer::Same | Answer::Waits(_) | Answer::Refused(_)),
                "{what}, again: {again:?}"
            );
        }
        Answer::Refused(rejection) => {
            let code = page::code(rejection.code());
            let is_declared = operation.all_errors().any(|declared| declared == code);
            assert!(is_declared, "{what}: {code} is not among its errors");
        }
        Answer::Same | Answer::Waits(_) | Answer::NoSuchThing => {}
    }
}

#[test]
fn whatever_is_sent_twice_is_appended_once() {
    for (name, world) in rows() {
        for ask in asks() {
            check(name, &world, &ask);
        }
    }
}

proptest! {
    #![proptest_config(Config {
        cases: 100,
        rng_seed: RngSeed::Fixed(11),
        failure_persistence: None,
        ..Config::default()
    })]

    /// The same wherever a life leads, and not only where the table looks.
    #[test]
    fn whatever_is_sent_twice_is_appended_once_in_any_life(
        beginning in life::beginning(),
        happenings in life::happenings(),
    ) {
        let asks = asks();
        let mut world = life::begin(&beginning);
        for happening in &happenings {
            world = life::happen(world, happening);
            for ask in &asks {
                check("a life", &world, ask);
            }
        }
    }
}

/// What the registry says a command may be refused with, some state must show.
#[test]
fn every_code_of_a_command_is_in_the_table() {
    // Decided before the state is looked at, or while its answer is waited for.
    let elsewhere = [
        Code::ActorMismatch,
        Code::InvalidIdempotencyKey,
        Code::OutcomePending,
        Code::PolicyNotActive,
    ];
    let sections = sections();
    let mut missing = Vec::new();
    for section in &sections {
        let answers = section.lines.iter().flat_map(|(_, answers)| answers);
        let shown: BTreeSet<Code> = answers
            .filter_map(|answer| match answer {
                Answer::Refused(rejection) => Some(page::code(rejection.code())),
                _ => None,
            })
            .collect();
        let entry = section.operation.entry();
        for code in entry.errors {
            if !shown.contains(code) && !elsewhere.contains(code) {
                missing.push((entry.key, code.as_str()));
            }
        }
    }
    assert_eq!(missing, []);
}

/// A command that is added to executions belongs into the table.
#[test]
fn every_command_to_an_execution_is_in_the_table() {
    use contracts::{registry::Kind, subject::AggregateKind};
    let asked: BTreeSet<OperationName> = asks().iter().map(|ask| ask.operation).collect();
    for operation in OperationName::ALL {
        let entry = operation.entry();
        let mut kinds = entry.emits.iter().map(|event| event.aggregate());
        let is_to_an_execution =
            entry.kind == Kind::Command && kinds.any(|kind| kind == AggregateKind::Execution);
        assert_eq!(
            asked.contains(&operation),
            is_to_an_execution,
            "{operation:?}"
        );
    }
}

#[test]
fn every_kind_of_state_has_a_row() {
    let rows = rows();
    let names: BTreeSet<_> = rows.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), rows.len(), "two rows of one name");
    let met: BTreeSet<&str> = rows
        .iter()
        .flat_map(|(_, world)| match &world.state {
            Execution::NeverReceived => vec!["never received"],
            Execution::Corrupt(_) => vec!["corrupt"],
            Execution::Known(known) => kinds(known),
        })
        .collect();
    let mut all = BTreeSet::from(["never received", "corrupt"]);
    all.extend(STAGES);
    all.extend(STEPS);
    assert_eq!(met, all);
}

const STAGES: [&str; 10] = [
    "received",
    "awaiting draft",
    "drafted",
    "draft refused",
    "compiled",
    "verified",
    "running",
    "rejected",
    "completed",
    "failed",
];

const STEPS: [&str; 7] = [
    "step pending",
    "step proposed",
    "step started",
    "step accepted",
    "step waiting for its retry",
    "step completed",
    "step failed",
];

fn kinds(known: &Known) -> Vec<&'static str> {
    let stage = match &known.stage {
        Stage::Received => "received",
        Stage::AwaitingDraft { .. } => "awaiting draft",
        Stage::Drafted { .. } => "drafted",
        Stage::DraftRefused { .. } => "draft refused",
        Stage::Compiled { .. } => "compiled",
        Stage::Verified(_) => "verified",
        Stage::Running(_) => "running",
        Stage::Rejected { .. } => "rejected",
        Stage::Completed { .. } => "completed",
        Stage::Failed { .. } => "failed",
    };
    let steps = known.steps().into_iter().flat_map(|steps| steps.values());
    let steps = steps.map(|step| match &step.state {
        StepState::Pending => "step pending",
        StepState::Proposed { .. } => "step proposed",
        StepState::Started(_) => "step started",
        StepState::Accepted { .. } => "step accepted",
        StepState::RetryWait { .. } => "step waiting for its retry",
        StepState::Completed { .. } => "step completed",
        StepState::Failed { .. } => "step failed",
        // Nothing skips a step yet.
        StepState::Skipped => "step skipped",
    });
    [stage].into_iter().chain(steps).collect()
}
