//! Each change is made to a copy twice: as it is, and with every event after it chained anew. As
//! it is, the chain names it; resealed, deriving it again does.

use contracts::{
    event::EventName,
    ids::ExecutionId,
    record::{Cause, seal},
    subject::AggregateId,
};
use controlplane::replay::{
    Report,
    report::{Difference, What},
};
use serde_json::{Value, json};

use crate::{
    cases,
    copies::{Copy, subject},
    world::{World, workspace},
};

struct Case {
    copy: Copy,
    refund: AggregateId,
    policy: AggregateId,
}

impl Case {
    async fn new() -> Self {
        let mut world = World::new(1).await;
        let id: ExecutionId = cases::refund(&mut world, "a").await;
        cases::echo(&mut world, 1).await;
        let copy = Copy::of(&world.journal).await;
        assert_eq!(copy.replay().await.exit_code(), 0);
        Self {
            copy,
            refund: AggregateId::execution(workspace(), id),
            policy: AggregateId::policy(workspace()),
        }
    }

    /// `what` and `by` are how deriving it again must name the change.
    async fn check(
        &self,
        aggregate: &AggregateId,
        event: EventName,
        change: impl Fn(&mut Value),
        what: What,
        by: &str,
    ) {
        let mut copy = self.copy.clone();
        let version = copy.change(aggregate, event, change);

        let as_is = copy.replay().await;
        assert_eq!(as_is.exit_code(), 1);
        let chain: Vec<&Difference> = of(&as_is, |found| found.what == What::Chain);
        assert_eq!(chain.len(), 1, "{as_is}");
        assert_eq!(chain[0].place.id, aggregate.id());
        assert_eq!(chain[0].place.version, version + 1);

        copy.reseal();
        let resealed = copy.replay().await;
        assert_eq!(resealed.exit_code(), 1);
        assert!(
            of(&resealed, |found| found.what == What::Chain).is_empty(),
            "{resealed}"
        );
        let named = of(&resealed, |found| {
            found.place.id == aggregate.id()
                && found.place.version == version
                && found.what == what
                && (found.message.contains(by)
                    || found.changes.iter().any(|change| change.path == by))
        });
        assert_eq!(named.len(), 1, "{resealed}");
    }
}

fn of(report: &Report, is: impl Fn(&Difference) -> bool) -> Vec<&Difference> {
    report
        .differences
        .iter()
        .filter(|found| is(found))
        .collect()
}

#[tokio::test]
async fn a_changed_verdict() {
    let case = Case::new().await;
    let change = |event: &mut Value| event["verdict"] = json!("autonomous");
    let path = "/verdict";
    case.check(
        &case.refund,
        EventName::PlanVerified,
        change,
        What::Decision,
        path,
    )
    .await;
    let change = |event: &mut Value| event["verdict"] = json!("autonomous");
    let path = "/verdict";
    case.check(
        &case.refund,
        EventName::StepJudged,
        change,
        What::Decision,
        path,
    )
    .await;
}

#[tokio::test]
async fn a_changed_fact() {
    let case = Case::new().await;
    let change = |event: &mut Value| event["facts"]["steps"]["refund"]["effect"] = json!("read");
    let path = "/facts/steps/refund/effect";
    case.check(
        &case.refund,
        EventName::PlanVerified,
        change,
        What::Decision,
        path,
    )
    .await;
    let change = |event: &mut Value| event["facts"]["amount"]["minor"] = json!(1);
    let path = "/facts/amount/minor";
    case.check(
        &case.refund,
        EventName::StepJudged,
        change,
        What::Decision,
        path,
    )
    .await;
}

#[tokio::test]
async fn a_changed_plan() {
    let case = Case::new().await;
    let change = |event: &mut Value| event["plan"]["steps"][0]["with"]["orderId"] = json!("A-1");
    let path = "/plan/steps/0/with/orderId";
    case.check(
        &case.refund,
        EventName::PlanCompiled,
        change,
        What::Decision,
        path,
    )
    .await;
}

#[tokio::test]
async fn a_changed_hash() {
    let case = Case::new().await;
    let change = |event: &mut Value| event["deterministicHash"] = json!("0".repeat(64));
    let path = "/deterministicHash";
    case.check(
        &case.refund,
        EventName::PlanCompiled,
        change,
        What::Decision,
        path,
    )
    .await;
}

/// To someone who may not vote: for one who may, only the voter could say.
#[tokio::test]
async fn a_changed_approver() {
    let case = Case::new().await;
    let change = |event: &mut Value| event["by"]["id"] = json!("ada");
    let code = "REQUESTER_CANNOT_APPROVE";
    case.check(
        &case.refund,
        EventName::ExecutionApproved,
        change,
        What::Vote,
        code,
    )
    .await;
    let change =
        |event: &mut Value| event["by"] = json!({ "type": "user", "id": "eve", "grants": [] });
    let code = "NOT_ELIGIBLE";
    case.check(
        &case.refund,
        EventName::ExecutionApproved,
        change,
        What::Vote,
        code,
    )
    .await;
}

#[tokio::test]
async fn a_vote_after_its_time_and_a_vote_on_another_plan() {
    let case = Case::new().await;
    let change = |event: &mut Value| event["planHash"] = json!("0".repeat(64));
    let code = "PLAN_HASH_MISMATCH";
    case.check(
        &case.refund,
        EventName::ExecutionApproved,
        change,
        What::Vote,
        code,
    )
    .await;
    let change = |event: &mut Value| event["approvedAt"] = json!("2031-01-01T00:00:00.000Z");
    let code = "APPROVAL_EXPIRED";
    case.check(
        &case.refund,
        EventName::ExecutionApproved,
        change,
        What::Vote,
        code,
    )
    .await;
}

#[tokio::test]
async fn a_changed_idempotency_key() {
    let case = Case::new().await;
    let change = |event: &mut Value| event["idempotencyKey"] = json!("0".repeat(64));
    let path = "/idempotencyKey";
    case.check(
        &case.refund,
        EventName::StepStarted,
        change,
        What::Decision,
        path,
    )
    .await;
}

#[tokio::test]
async fn a_changed_byte_of_a_policy_bundle() {
    let case = Case::new().await;
    let change = |event: &mut Value| {
        let policy = &mut event["bundle"]["policies"]["reads.cedar"];
        *policy = json!(policy.as_str().unwrap().replacen("nothing", "Nothing", 1));
    };
    let (asked, path) = (EventName::PolicyActivationRequested, "/hash");
    case.check(&case.policy, asked, change, What::Request, path)
        .await;
}

#[tokio::test]
async fn a_changed_submit_and_a_changed_output() {
    let case = Case::new().await;
    let change = |event: &mut Value| event["text"] = json!("please refund order A-1");
    let path = "/requestDigest";
    case.check(
        &case.refund,
        EventName::IntentReceived,
        change,
        What::Request,
        path,
    )
    .await;
    let change = |event: &mut Value| event["output"]["paid"]["minor"] = json!(1);
    let path = "/outputDigest";
    case.check(
        &case.refund,
        EventName::StepCompleted,
        change,
        What::Outcome,
        path,
    )
    .await;
}

#[tokio::test]
async fn a_bundle_under_another_hash_is_not_the_one_that_verdicts_were_given_by() {
    let mut case = Case::new().await;
    let bundle = contracts::bundle::Bundle::default();
    let hash = json!(bundle.hash().unwrap());
    let policy = case.policy.clone();
    case.copy
        .change(&policy, EventName::PolicyActivationRequested, |event| {
            event["bundle"] = json!(bundle);
            event["hash"] = hash.clone();
        });
    case.copy
        .change(&policy, EventName::PolicyActivated, |event| {
            event["hash"] = hash.clone();
        });
    case.copy.reseal();

    let report = case.copy.replay().await;

    let verdicts = of(&report, |found| {
        found.place.event == EventName::PlanVerified.as_str()
            && found
                .changes
                .iter()
                .any(|change| change.path == "/policyVersion")
    });
    assert_eq!(verdicts.len(), 2, "{report}");
}

/// A history that goes another way from some event on, each event well sealed.
#[tokio::test]
async fn a_vote_that_was_made_up() {
    let case = Case::new().await;
    let mut copy = case.copy.clone();
    let approved = copy
        .line(&case.refund, EventName::ExecutionApproved)
        .clone();
    let blocked = copy.line(&case.refund, EventName::StepBlocked).clone();
    let before = blocked.entry().unwrap().recorded.unwrap();
    let mut vote = approved.entry().unwrap().recorded.unwrap().event;
    if let contracts::event::Event::ExecutionApproved(vote) = &mut vote {
        vote.by.id = "mallory".parse().unwrap();
        vote.by.grants.clear();
    }
    let (envelope, _) = seal(
        &case.refund,
        Some(&before.head()),
        vote,
        contracts::event::Service::Intake,
        &Cause {
            id: None,
            traceparent: before.attributes.traceparent.clone(),
        },
        before.time(),
    )
    .unwrap();
    let line = copy.line(&case.refund, EventName::ExecutionApproved);
    let entry = journal::stored::Entry::new(
        contracts::position::Position {
            stream: contracts::position::StreamId::Log(0),
            sequence: line.sequence,
        },
        journal::stored::Raw::from(&envelope),
    )
    .stored_at(line.stored_at);
    *line = (&entry).into();
    copy.reseal();

    let report = copy.replay().await;

    assert_eq!(report.exit_code(), 1);
    assert_eq!(
        of(&report, |found| found.what == What::Vote).len(),
        1,
        "{report}"
    );
}

#[tokio::test]
async fn decisions_of_other_rules_are_listed_and_not_derived() {
    type Change = fn(&mut Value);
    let case = Case::new().await;
    let changes: [(EventName, Change, &str); 3] = [
        (
            EventName::StepStarted,
            |event| event["rules"] = json!(2),
            "rules 2",
        ),
        (
            EventName::PlanCompiled,
            |event| event["compilerVersion"] = json!(7),
            "compiler 7",
        ),
        (
            EventName::PlanVerified,
            |event| event["engineVersion"] = json!("policy-9"),
            "`policy-9`",
        ),
    ];
    for (event, change, names) in changes {
        let mut copy = case.copy.clone();
        copy.change(&case.refund, event, change);
        copy.reseal();

        let report = copy.replay().await;

        assert_eq!(report.exit_code(), 2, "{report}");
        assert_eq!(report.summary.not_rederived, 1);
        assert!(report.not_rederived[0].reason.contains(names), "{report}");
    }
}

#[tokio::test]
async fn an_event_of_a_newer_binary_is_listed_with_what_follows_it() {
    let case = Case::new().await;
    let mut copy = case.copy.clone();
    let line = copy.line(&case.refund, EventName::StepJudged);
    let version = subject(line).version;
    line.subject = line
        .subject
        .replace("execution.step.judged", "execution.step.judged.v2");

    let report = copy.replay().await;

    assert_eq!(report.exit_code(), 2, "{report}");
    let last = copy.lines.iter().map(|line| line.subject.clone());
    let later = last
        .filter(|text| text.starts_with(case.refund.prefix()))
        .count() as u64;
    assert_eq!(report.summary.not_rederived, later - version + 1);
}

#[tokio::test]
async fn an_event_that_is_left_out_or_put_after_the_end() {
    let case = Case::new().await;
    let mut copy = case.copy.clone();
    let line = copy.line(&case.refund, EventName::StepBlocked).clone();
    copy.lines.retain(|other| *other != line);
    copy.reseal();
    let report = copy.replay().await;
    assert_eq!(
        of(&report, |found| found.what == What::Version).len(),
        1,
        "{report}"
    );

    let mut copy = case.copy.clone();
    let end = copy
        .line(&case.refund, EventName::ExecutionCompleted)
        .clone();
    let mut after = copy.line(&case.refund, EventName::ExecutionStarted).clone();
    let version = subject(&end).version + 1;
    after.subject = format!("{}.{version}.execution.started", case.refund.prefix());
    after.sequence = copy.lines.last().unwrap().sequence + 1;
    copy.lines.push(after);
    copy.reseal();
    let report = copy.replay().await;
    let illegal = of(&report, |found| found.what == What::Illegal);
    assert_eq!(illegal.len(), 1, "{report}");
    assert_eq!(illegal[0].place.version, version);
}

#[tokio::test]
async fn changed_headers() {
    let case = Case::new().await;
    let changes = [
        ("ce-id", "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708196", What::Id),
        ("ce-time", "2029-01-01T00:00:00.000Z", What::Time),
        ("ce-source", "/control-plane/intake", What::Writer),
        (
            "ce-causationid",
            "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708196",
            What::Id,
        ),
        (
            "traceparent",
            "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            What::Header,
        ),
    ];
    for (name, value, what) in changes {
        let mut copy = case.copy.clone();
        let line = copy.line(&case.refund, EventName::StepStarted);
        let header = line.headers.iter_mut().find(|(header, _)| header == name);
        header.unwrap().1 = value.to_owned();
        copy.reseal();

        let report = copy.replay().await;

        assert_eq!(report.exit_code(), 1);
        assert!(
            !of(&report, |found| found.what == what).is_empty(),
            "{name}: {report}"
        );
    }
}
