//! The chain and the folds alone: what they show is found, and what they do not show is said.

use std::time::Duration;

use contracts::{event::EventName, subject::AggregateId};
use controlplane::replay::{
    self, Check, Options, Progress, Report, Selection, Source, progress::told, report::What,
};
use serde_json::json;

use crate::{
    cases,
    copies::{Copy, subject},
    world::{World, workspace},
};

async fn replayed(copy: &Copy, check: Check, threads: usize) -> Report {
    let file = copy.write();
    let source = Source::File(file.path.clone());
    let options = Options {
        check,
        threads,
        ..Options::default()
    };
    replay::run_as(source, &Selection::All, &options, &mut |_| {})
        .await
        .unwrap()
}

async fn chain_only(copy: &Copy) -> Report {
    replayed(copy, Check::ChainOnly, 2).await
}

async fn refund() -> (Copy, AggregateId) {
    let mut world = World::new(1).await;
    let id = cases::refund(&mut world, "a").await;
    cases::echo(&mut world, 1).await;
    let copy = Copy::of(&world.journal).await;
    (copy, AggregateId::execution(workspace(), id))
}

/// What is found, and at which version.
fn found(report: &Report) -> Vec<(What, u64)> {
    let found = report.differences.iter();
    found.map(|it| (it.what, it.place.version)).collect()
}

const NOT_LOOKED_AT: &str = "decisions were not re-derived: whether they are right is not known";

#[tokio::test]
async fn a_whole_log_is_whole_and_what_was_not_looked_at_is_said() {
    let mut world = World::new(4).await;
    cases::all(&mut world).await;
    let copy = Copy::of(&world.journal).await;

    let report = chain_only(&copy).await;
    let everything = replayed(&copy, Check::Everything, 2).await;

    assert_eq!(report.exit_code(), 0, "{report}");
    let (summary, all) = (report.summary, everything.summary);
    assert_eq!(summary.events, all.events);
    assert_eq!(summary.executions, all.executions);
    assert_eq!(report.unfinished, everything.unfinished);
    assert_eq!((summary.decisions, summary.inputs), (0, 0));
    assert!(report.to_string().contains(NOT_LOOKED_AT), "{report}");
    assert!(!everything.to_string().contains(NOT_LOOKED_AT));
    let said =
        |report: &Report| serde_json::to_value(report).unwrap()["decisionsRederived"].clone();
    assert_eq!(said(&report), json!(false));
    assert_eq!(said(&everything), json!(true));
}

#[tokio::test]
async fn it_reads_the_log_itself() {
    let mut world = World::new(4).await;
    cases::all(&mut world).await;
    let options = Options {
        check: Check::ChainOnly,
        ..Options::default()
    };
    let source = Source::Journal(std::sync::Arc::new(world.journal.clone()));
    let mut last = None;
    let mut tell = |it| last = Some(it);

    let of_log = replay::run_as(source, &Selection::All, &options, &mut tell).await;
    let of_log = of_log.unwrap();

    assert_eq!(of_log, chain_only(&Copy::of(&world.journal).await).await);
    let events = of_log.summary.events;
    assert_eq!(
        last,
        Some(Progress {
            done: events,
            of: events
        })
    );
}

#[tokio::test]
async fn a_broken_chain_is_found() {
    let (mut copy, refund) = refund().await;
    let version = copy.change(&refund, EventName::PlanVerified, |event| {
        event["verdict"] = json!("autonomous");
    });

    let report = chain_only(&copy).await;

    assert_eq!(report.exit_code(), 1);
    assert_eq!(found(&report), [(What::Chain, version + 1)], "{report}");
    assert_eq!(report.differences[0].place.id, refund.id());
    let everything = replayed(&copy, Check::Everything, 2).await;
    let chain = everything.differences.iter();
    let chain: Vec<_> = chain.filter(|it| it.what == What::Chain).collect();
    assert_eq!(chain, [&report.differences[0]]);
    assert!(report.to_string().contains(NOT_LOOKED_AT));
}

#[tokio::test]
async fn a_fork_is_found() {
    let (mut copy, refund) = refund().await;
    let mut forked = copy.clone();
    forked.change(&refund, EventName::PlanCompiled, |event| {
        event["catalogue"] = json!(0);
    });
    let mut other = forked.line(&refund, EventName::PlanCompiled).clone();
    let version = subject(&other).version;
    let ends = copy.lines.iter().filter(|line| line.stream == other.stream);
    other.sequence = ends.map(|line| line.sequence).max().unwrap() + 1;
    copy.lines.push(other);

    let report = chain_only(&copy).await;

    assert_eq!(report.exit_code(), 1);
    assert_eq!(found(&report), [(What::Version, version)], "{report}");
}

#[tokio::test]
async fn a_hole_is_found() {
    let (mut copy, refund) = refund().await;
    let gone = copy.line(&refund, EventName::PlanVerified).clone();
    copy.lines.retain(|line| *line != gone);

    let report = chain_only(&copy).await;

    assert_eq!(report.exit_code(), 1);
    let version = subject(&gone).version;
    let expected = [(What::Missing, 0), (What::Version, version + 1)];
    assert_eq!(found(&report), expected, "{report}");
    assert!(report.summary.not_rederived > 0);
    assert!(report.to_string().contains("not folded"), "{report}");
}

#[tokio::test]
async fn an_event_that_is_illegal_after_the_one_before_is_found() {
    let (mut copy, refund) = refund().await;
    let version = copy.change(&refund, EventName::ExecutionCompleted, |event| {
        event["runId"] = json!(format!("{}:2", refund.id()));
    });
    copy.reseal();

    let report = chain_only(&copy).await;

    assert_eq!(report.exit_code(), 1);
    assert_eq!(found(&report), [(What::Illegal, version)], "{report}");
}

#[tokio::test]
async fn nothing_follows_the_end() {
    let (mut copy, refund) = refund().await;
    let mut more = copy.line(&refund, EventName::ExecutionCompleted).clone();
    let version = subject(&more).version;
    let ends = copy.lines.iter().filter(|line| line.stream == more.stream);
    more.sequence = ends.map(|line| line.sequence).max().unwrap() + 1;
    more.subject = (more.subject).replace(&format!(".{version}."), &format!(".{}.", version + 1));
    copy.lines.push(more);
    copy.reseal();

    for check in [Check::ChainOnly, Check::Everything] {
        let report = replayed(&copy, check, 2).await;
        assert_eq!(report.exit_code(), 1);
        assert!(
            found(&report).contains(&(What::Illegal, version + 1)),
            "{report}"
        );
    }
}

/// Only deriving it again finds it.
#[tokio::test]
async fn a_wrong_decision_is_not_found() {
    let (mut copy, refund) = refund().await;
    copy.change(&refund, EventName::StepJudged, |event| {
        event["facts"]["amount"]["minor"] = json!(1);
    });
    copy.reseal();

    let report = chain_only(&copy).await;

    assert_eq!(report.exit_code(), 0, "{report}");
    assert!(report.to_string().contains(NOT_LOOKED_AT), "{report}");
    let everything = replayed(&copy, Check::Everything, 2).await;
    assert_eq!(everything.exit_code(), 1);
}

/// Whoever walks along what, all is found, and is told in the order of the log.
#[tokio::test]
async fn any_number_of_threads_finds_the_same() {
    let mut world = World::new(4).await;
    cases::all(&mut world).await;
    let mut copy = Copy::of(&world.journal).await;
    for (index, line) in copy.lines.iter_mut().enumerate() {
        let is_changed = index % 7 == 0 && line.stream != "CONTROL_PLANE_CATALOGUE";
        if is_changed && let Some((_, value)) = line.headers.iter_mut().find(|it| it.0 == "ce-id") {
            *value = value.replace(|c: char| c.is_ascii_digit(), "0");
        }
    }
    copy.lines
        .retain(|line| line.sequence % 31 != 5 || line.stream == "CONTROL_PLANE_CATALOGUE");

    for check in [Check::Everything, Check::ChainOnly] {
        let alone = replayed(&copy, check, 0).await;
        assert!(alone.differences.len() > 10, "{alone}");
        for threads in [1, 2, 5] {
            assert_eq!(replayed(&copy, check, threads).await, alone);
        }
    }
}

#[test]
fn how_far_it_is_is_told_with_the_rate_and_what_is_left() {
    let told = |done, of, secs| told(Progress { done, of }, Duration::from_secs(secs));
    assert_eq!(told(0, 10, 1), "0 of 10 events");
    assert_eq!(told(500, 1_500, 2), "500 of 1500 events, 250/s, 4 s left");
    assert_eq!(
        told(1_000, 100_000, 1),
        "1000 of 100000 events, 1000/s, 1 min 39 s left"
    );
}
