//! Where a log is read from, and what is no log.

use std::{sync::Arc, time::Duration};

use contracts::{event::EventName, position::StreamId, subject::AggregateId};
use controlplane::replay::{self, ReplayError, Report, Selection, Source, report::What};
use host::{clock::System, engine::Host};
use journal::{Journal as _, stored::Raw};
use tokio_util::sync::CancellationToken;

use crate::{
    cases,
    copies::{Copy, written},
    world::{World, workspace},
};

async fn replayed(text: &str) -> Result<Report, ReplayError> {
    let file = written(text);
    replay::run(Source::File(file.path.clone()), &Selection::All).await
}

#[tokio::test]
async fn a_file_says_the_same_as_the_log_that_it_was_written_from() {
    let mut world = World::new(4).await;
    cases::all(&mut world).await;

    let source = Source::Journal(Arc::new(world.journal.clone()));
    let of_log = replay::run(source, &Selection::All).await.unwrap();
    let of_file = Copy::of(&world.journal).await.replay().await;

    assert_eq!(of_log.summary, of_file.summary);
    assert_eq!(of_log, of_file);
}

#[tokio::test]
async fn the_catalogue_stands_first_and_every_message_once() {
    let mut world = World::new(4).await;
    cases::all(&mut world).await;
    let copy = Copy::of(&world.journal).await;

    let catalogue = StreamId::Catalogue.name();
    let firsts = copy
        .lines
        .iter()
        .take_while(|line| line.stream == catalogue)
        .count() as u64;
    let mut stored = 0;
    for stream in world.journal.streams() {
        let end = world.journal.last_sequence(stream).await.unwrap();
        assert_eq!(copy.header.positions.get(stream), end);
        stored += end;
    }

    assert_eq!(
        firsts,
        world
            .journal
            .last_sequence(StreamId::Catalogue)
            .await
            .unwrap()
    );
    assert_eq!(copy.lines.len() as u64, stored);
}

#[tokio::test]
async fn a_file_that_is_no_export_is_refused() {
    for text in [
        "",
        "\n",
        "{}\n",
        "{\"format\":\"cp.export.v9\",\"streams\":1,\"positions\":\"v1\"}\n",
    ] {
        assert!(
            matches!(replayed(text).await, Err(ReplayError::NotAnExport { .. })),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_cut_off_is_refused() {
    let mut world = World::new(1).await;
    cases::echo(&mut world, 1).await;
    let mut copy = Copy::of(&world.journal).await;
    let text = copy.text();

    copy.lines.pop();
    let shorter = replayed(&copy.text()).await;
    let broken = replayed(&text[..text.len() - 10]).await;

    assert!(
        matches!(shorter, Err(ReplayError::CutOff { .. })),
        "{shorter:?}"
    );
    assert!(
        matches!(broken, Err(ReplayError::Line { .. })),
        "{broken:?}"
    );
}

#[tokio::test]
async fn lines_out_of_order_are_refused() {
    let mut world = World::new(1).await;
    cases::echo(&mut world, 1).await;
    let copy = Copy::of(&world.journal).await;

    let mut swapped = copy.clone();
    swapped.lines.swap(0, 1);
    let mut last = copy;
    let first = last.lines.remove(0);
    last.lines.push(first);

    for copy in [swapped, last] {
        let refused = replayed(&copy.text()).await;
        assert!(
            matches!(refused, Err(ReplayError::Line { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn an_unknown_execution_is_not_found_also_in_another_workspace() {
    let mut world = World::new(1).await;
    let id = cases::echo(&mut world, 1).await;
    for (workspace, execution) in [
        (
            "demo",
            "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708192".parse().unwrap(),
        ),
        ("other", id),
    ] {
        let selection = Selection::One {
            workspace: workspace.parse().unwrap(),
            execution,
        };
        let source = Source::Journal(Arc::new(world.journal.clone()));
        let refused = replay::run(source, &selection).await;
        assert!(
            matches!(refused, Err(ReplayError::NotFound { .. })),
            "{refused:?}"
        );
    }
}

/// What cannot be read at all is named, in the log itself as well.
#[tokio::test]
async fn a_message_that_is_no_event_is_named() {
    let mut world = World::new(1).await;
    let id = cases::echo(&mut world, 1).await;
    let aggregate = AggregateId::execution(workspace(), id);
    let mut copy = Copy::of(&world.journal).await;
    let line = copy.line(&aggregate, EventName::ExecutionCompleted).clone();
    let version = line
        .subject
        .split('.')
        .nth(5)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        + 1;
    world.journal.store_raw(
        StreamId::Log(0),
        Raw {
            subject: format!("{}.{version}.execution.failed", aggregate.prefix()),
            headers: line.headers,
            payload: b"no event".as_slice().into(),
        },
    );
    let selection = Selection::One {
        workspace: workspace(),
        execution: id,
    };
    let source = Source::Journal(Arc::new(world.journal.clone()));

    let report = replay::run(source, &selection).await.unwrap();

    assert_eq!(report.exit_code(), 1);
    assert_eq!(report.differences[0].what, What::Unreadable, "{report}");
    assert_eq!(report.differences[0].place.version, version);
}

#[tokio::test]
async fn incidents_stand_beside_their_execution() {
    let mut world = World::new(4).await;
    let id = cases::echo(&mut world, 1).await;
    let incident = host::incident::Incident {
        workspace: workspace(),
        subject_id: id.to_string(),
        code: "POISON_MESSAGE",
        cause: "a timer that is none".to_owned(),
        about: AggregateId::execution(workspace(), id).to_string(),
        event: None,
    };
    let service = contracts::event::Service::Executor;
    let host = Host::new(
        service,
        Arc::new(world.journal.clone()),
        Arc::new(System),
        Duration::from_secs(15),
        CancellationToken::new(),
    );
    host::incident::raise(&host, &incident).await.unwrap();
    let selection = Selection::One {
        workspace: workspace(),
        execution: id,
    };

    let source = Source::Journal(Arc::new(world.journal.clone()));
    let of_log = replay::run(source, &selection).await.unwrap();
    let file = Copy::of(&world.journal).await.write();
    let of_file = replay::run(Source::File(file.path.clone()), &selection).await;

    assert_eq!(of_log.exit_code(), 0, "{of_log}");
    assert_eq!(of_log.summary.other_aggregates, 3);
    assert_eq!(of_log, of_file.unwrap());
}
