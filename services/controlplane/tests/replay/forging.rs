//! Histories that hold together event by event, and still were not so.

use contracts::{
    bundle::Bundle,
    canonical::Digest,
    event::{Event, EventName, Service},
    events::{RULES, intake::PolicyActivationRequested},
    position::{Position, StreamId},
    record::{Cause, Recorded, seal},
    subject::AggregateId,
};
use controlplane::{export::Line, replay::report::What};
use domain::{catalogue::Catalogue, execution::Execution, policy::Policy};
use host::{aggregate::Aggregate as _, judge::Judge};
use journal::stored::{Entry, Raw};

use crate::{
    cases,
    copies::{Copy, subject},
    documents::bundle,
    world::{World, ada, workspace},
};

const HOUR_MS: u64 = 60 * 60 * 1000;

fn recorded(line: &Line) -> Recorded {
    line.clone().entry().unwrap().recorded.unwrap()
}

/// What the verifier would have said of the same plan on an older catalogue, in its place.
fn judge_on(copy: &mut Copy, aggregate: &AggregateId, sequence: u64) {
    let mut catalogue = Catalogue::empty();
    let mut state = Execution::empty();
    for line in &copy.lines {
        let event = recorded(line);
        if line.stream == StreamId::Catalogue.name() {
            if line.sequence <= sequence {
                catalogue.apply(line.sequence, &event);
            }
        } else if event.subject.aggregate == *aggregate
            && event.event.name() == EventName::PlanVerified
        {
            break;
        } else if event.subject.aggregate == *aggregate {
            state = state.evolve(&event);
        }
    }
    let line = copy.line(aggregate, EventName::PlanVerified);
    let before = recorded(line);
    let verdict = Judge::default()
        .execution(&state, &catalogue, before.time())
        .remove(0);
    assert!(matches!(verdict, Event::PlanVerified(_)));
    assert_ne!(verdict, before.event);
    let cause = Cause {
        id: before.attributes.causation,
        traceparent: before.attributes.traceparent.clone(),
    };
    let head = Execution::head(&state).copied();
    let (sealed, _) = seal(
        aggregate,
        head.as_ref(),
        verdict,
        Service::Verifier,
        &cause,
        before.time(),
    )
    .unwrap();
    let position = Position {
        stream: line.clone().entry().unwrap().position.stream,
        sequence: line.sequence,
    };
    let entry = Entry::new(position, Raw::from(&sealed)).stored_at(line.stored_at);
    *line = (&entry).into();
    copy.reseal();
}

fn stricter() -> Bundle {
    let mut stricter = bundle();
    stricter
        .thresholds
        .insert("large_amount_minor".to_owned(), 10);
    stricter
}

/// Also from the services' times alone.
async fn check(copy: &Copy, is_named: &str) {
    for copy in [copy.clone(), copy.without_stored_times()] {
        let report = copy.replay().await;
        assert_eq!(report.exit_code(), 1, "{report}");
        let named = report.differences.iter().any(|found| {
            found.what == What::Catalogue
                && found.place.event == EventName::PlanVerified.as_str()
                && found.message.contains(is_named)
        });
        assert!(named, "{report}");
    }
}

async fn untouched(world: &World) -> Copy {
    let copy = Copy::of(&world.journal).await;
    let report = copy.replay().await;
    assert_eq!(report.exit_code(), 0, "{report}");
    copy
}

#[tokio::test]
async fn a_verdict_by_a_bundle_that_had_been_replaced() {
    for wrong_ms in [0, HOUR_MS, 24 * HOUR_MS] {
        let mut world = World::new(1).await;
        let sequence = Copy::of(&world.journal).await.lines.len() as u64;
        world.activate(stricter()).await;
        world.pass(HOUR_MS);
        world.step_clock(Service::Verifier, i64::try_from(wrong_ms).unwrap());
        let id = cases::refund(&mut world, "a").await;
        let mut copy = untouched(&world).await;
        judge_on(
            &mut copy,
            &AggregateId::execution(workspace(), id),
            sequence,
        );
        check(&copy, "had long been stored").await;
    }
}

/// Within a second, where no clock says anything.
#[tokio::test]
async fn a_verdict_by_a_bundle_that_its_plan_had_seen_replaced() {
    let mut world = World::new(1).await;
    let sequence = Copy::of(&world.journal).await.lines.len() as u64;
    world.activate(stricter()).await;
    let id = cases::refund(&mut world, "a").await;
    let mut copy = untouched(&world).await;
    let aggregate = AggregateId::execution(workspace(), id);
    judge_on(&mut copy, &aggregate, sequence);
    check(&copy, "an event before it on catalogue").await;
}

#[tokio::test]
async fn a_verdict_by_a_bundle_that_was_activated_later() {
    let mut world = World::new(1).await;
    let id = cases::refund(&mut world, "a").await;
    world.pass(HOUR_MS);
    world.activate(stricter()).await;
    let mut copy = untouched(&world).await;
    let end = copy.header.positions.get(StreamId::Catalogue);
    judge_on(&mut copy, &AggregateId::execution(workspace(), id), end);
    check(&copy, "not stored until long after").await;
}

#[tokio::test]
async fn an_execution_or_a_withdrawal_that_is_gone_whole() {
    let mut world = World::new(1).await;
    let id = cases::echo(&mut world, 1).await;
    world.disable_skill().await;
    world.install("1.0.1").await;
    cases::echo(&mut world, 2).await;
    let copy = Copy::of(&world.journal).await;
    let execution = AggregateId::execution(workspace(), id);
    let of_execution = |line: &Line| subject(line).aggregate == execution;
    let of_withdrawal = |line: &Line| subject(line).event == EventName::SkillDisabled;
    let gone: [&dyn Fn(&Line) -> bool; 2] = [&of_execution, &of_withdrawal];
    for is_gone in gone {
        let mut copy = copy.clone();
        let lines: Vec<Line> = copy.lines.extract_if(.., |line| is_gone(line)).collect();
        copy.reseal();

        let report = copy.replay().await;

        assert_eq!(report.exit_code(), 1, "{report}");
        let (first, last) = (&lines[0], &lines[lines.len() - 1]);
        let missing = format!(
            "`{}` lacks {} to {}",
            first.stream, first.sequence, last.sequence
        );
        let found = report
            .differences
            .iter()
            .find(|found| found.what == What::Missing && found.place.sequence == first.sequence);
        assert_eq!(found.unwrap().message, missing, "{report}");
    }
}

#[test]
fn a_bundle_under_the_hash_of_another_is_refused() {
    let at = "2026-03-02T08:00:00Z".parse().unwrap();
    let mut lax = bundle();
    lax.thresholds.insert("anything".to_owned(), 1);
    let answer = |bundle: Bundle, hash: Digest| {
        let requested = PolicyActivationRequested {
            hash,
            bundle,
            by: ada(),
            requested_at: at,
            rules: RULES,
        };
        let aggregate = AggregateId::policy(workspace());
        let cause = Cause::default();
        let (_, recorded) = seal(
            &aggregate,
            None,
            requested.into(),
            Service::Intake,
            &cause,
            at,
        )
        .unwrap();
        Judge::default()
            .policy(&Policy::fold([&recorded]), at)
            .remove(0)
    };
    let own = lax.hash().unwrap();
    assert!(matches!(
        answer(lax.clone(), own),
        Event::PolicyActivated(_)
    ));
    let Event::PolicyRefused(refused) = answer(lax, bundle().hash().unwrap()) else {
        panic!("it was activated");
    };
    assert_eq!(refused.findings[0].code, "BUNDLE_HASH_MISMATCH");
}
