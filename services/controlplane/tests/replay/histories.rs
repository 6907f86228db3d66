use std::{collections::BTreeSet, sync::Arc};

use contracts::event::EventName;
use controlplane::replay::{self, Selection, Source};

use crate::{cases, copies::Copy, world::World};

#[tokio::test]
async fn everything_the_deciders_write_comes_out_as_it_was_recorded() {
    let mut world = World::new(1).await;
    cases::all(&mut world).await;

    let report = Copy::of(&world.journal).await.replay().await;

    assert_eq!(report.to_string().lines().count(), 2, "{report}");
    assert_eq!(report.exit_code(), 0, "{report}");
    assert_eq!(report.summary.unfinished, 1, "{report}");
    let summary = report.summary;
    assert_eq!(summary.decisions + summary.inputs, summary.events);
    assert!(summary.decisions > 100, "{report}");
}

/// So that the histories above say something of every event that is written.
#[tokio::test]
async fn the_histories_hold_every_event_that_has_a_decider() {
    let mut world = World::new(1).await;
    cases::all(&mut world).await;
    let copy = Copy::of(&world.journal).await;
    let names: BTreeSet<EventName> = copy
        .lines
        .iter()
        .map(|line| crate::copies::subject(line).event)
        .collect();

    let missing: Vec<EventName> = EventName::ALL
        .into_iter()
        .filter(|name| !names.contains(name))
        .collect();

    let without_decider = [
        EventName::StepReported,
        EventName::Paused,
        EventName::Resumed,
        EventName::RetryRequested,
        EventName::HoldPlaced,
        EventName::HoldLifted,
        EventName::IncidentResolved,
        EventName::SkillRejected,
        EventName::PolicyRefused,
        EventName::StepAccepted,
        EventName::StepSkipped,
        EventName::StepCompensated,
        EventName::IncidentRaised,
    ];
    assert_eq!(missing, without_decider);
}

#[tokio::test]
async fn one_execution_is_replayed_from_the_log_itself() {
    let mut world = World::new(4).await;
    let id = cases::refund(&mut world, "one").await;
    cases::echo(&mut world, 1).await;

    let selection = Selection::One {
        workspace: crate::world::workspace(),
        execution: id,
    };
    let source = Source::Journal(Arc::new(world.journal.clone()));
    let report = replay::run(source, &selection).await.unwrap();

    assert_eq!(report.exit_code(), 0, "{report}");
    assert_eq!(report.summary.executions, 1);
    assert_eq!(report.summary.other_aggregates, 2);
}
