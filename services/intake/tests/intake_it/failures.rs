use contracts::{
    event::Service,
    events::{RULES, executor::ExecutionCompleted, intake::CancelRequested},
    ids::RunId,
    problem::Code,
};
use host::clock::{Ambient as _, System};
use serde_json::{Value, json};

use crate::{
    cases::{bundle, echo, installation, intent, manifest},
    world::{WORKSPACE, World, a_moment, memory},
};

#[tokio::test]
async fn what_is_not_stored_is_not_answered() {
    let log = memory();
    let world = World::alone_on(&log).await;
    log.fail_appends(1);
    let answer = world.submit(&intent(echo())).await;
    answer.is(Code::LogUnavailable);
    assert_eq!(answer.header("retry-after"), Some("1"));
    world.submit(&intent(echo())).await.ok();
}

/// The append was stored, its answer lost; the caller asks again under the same key.
#[tokio::test]
async fn a_lost_answer_is_found_again_under_its_key() {
    let log = memory();
    let world = World::alone_on(&log).await;
    let key = [("idempotency-key", "k")];
    log.lose_answers(1);
    let lost = world
        .ask_with("sam", "intent.submit", &intent(echo()), &key)
        .await;
    lost.is(Code::LogUnavailable);
    a_moment().await;
    let again = world
        .ask_with("sam", "intent.submit", &intent(echo()), &key)
        .await;
    assert_eq!(again.status, 200, "{again:#?}");
    assert_eq!(
        world.names(&again.text("executionId")).await,
        ["intent.received"]
    );
}

/// A replica that lags shows an old fold: nothing is refused or answered on it.
#[tokio::test]
async fn nothing_is_refused_on_a_stale_fold() {
    let log = memory();
    let world = World::on(&log).await.equipped().await;
    let (execution, _) = world.blocked(crate::cases::refund(), "refund").await;
    log.lag(4);
    // On the stale fold there is neither a plan nor a block.
    let vote = json!({ "executionId": execution, "stepId": "refund", "approvedBy": "ada" });
    world.ask("ada", "execution.approve", &vote).await.ok();
    log.lag(1000);
    let cancel = json!({ "executionId": execution, "cancelledBy": "sam" });
    world.ask("sam", "execution.cancel", &cancel).await.ok();
}

/// Installed again elsewhere: a stale fold would say that it is disabled already.
#[tokio::test]
async fn nothing_is_left_undone_on_a_stale_fold() {
    let log = memory();
    let world = World::on(&log).await.equipped().await;
    let disable = json!({ "skillKey": "acme.orders", "disabledBy": "sam" });
    let first = world.ask("sam", "skill.disable", &disable).await;
    let install = installation(&manifest("1.0.0"));
    world.ask("sam", "skill.install", &install).await.ok();
    log.lag(2);
    let second = world.ask("sam", "skill.disable", &disable).await;
    assert!(
        second.text("disabledAt") > first.text("disabledAt"),
        "{second:#?}"
    );
}

#[tokio::test]
async fn an_outcome_that_does_not_come_is_pending() {
    let world = World::alone().await;
    let submitted = world.submit(&intent(echo())).await;
    let ids = json!({
        "executionId": submitted.text("executionId"), "intentId": submitted.text("intentId"),
    });
    let asked: [(&str, Value); 3] = [
        ("plan.compile", ids),
        ("skill.install", installation(&manifest("1.0.0"))),
        ("policy.activate", json!({ "bundle": bundle() })),
    ];
    for (operation, input) in asked {
        let answer = world.ask("sam", operation, &input).await;
        answer.is(Code::OutcomePending);
        assert!(
            answer.body["position"].as_str().unwrap().starts_with("v1."),
            "{answer:#?}"
        );
        // Asked again, it is waited for and not recorded twice.
        let again = world.ask("sam", operation, &input).await;
        again.is(Code::OutcomePending);
        assert_eq!(again.body["position"], answer.body["position"]);
    }
}

#[tokio::test]
async fn a_history_that_does_not_hold_together_takes_nothing_more() {
    let world = World::alone().await;
    let key = [("idempotency-key", "k")];
    let submitted = world
        .ask_with("sam", "intent.submit", &intent(echo()), &key)
        .await;
    let execution = submitted.text("executionId");
    // A run that never began cannot be completed.
    let id = execution.parse().unwrap();
    let illegal = ExecutionCompleted {
        execution_id: id,
        run_id: RunId {
            execution: id,
            number: 1,
        },
        completed_at: System.now(),
        outcome: None,
        rules: 1,
    };
    world.store(Service::Executor, &execution, illegal).await;
    let plan = "0198f3b1-0000-7000-8000-000000000000";
    for (who, operation, input) in [
        (
            "sam",
            "plan.compile",
            json!({ "intentId": submitted.text("intentId") }),
        ),
        ("sam", "plan.verify", json!({ "planId": plan })),
        ("sam", "execution.start", json!({ "planId": plan })),
        ("sam", "execution.cancel", json!({ "cancelledBy": "sam" })),
        (
            "ada",
            "execution.approve",
            json!({ "stepId": "say", "approvedBy": "ada" }),
        ),
        (
            "ada",
            "execution.reject",
            json!({ "stepId": "say", "rejectedBy": "ada", "reason": "" }),
        ),
    ] {
        let mut input = input;
        input["executionId"] = json!(execution);
        world
            .ask(who, operation, &input)
            .await
            .is(Code::ExecutionCorrupt);
    }
    let again = world
        .ask_with("sam", "intent.submit", &intent(echo()), &key)
        .await;
    again.is(Code::ExecutionCorrupt);
    assert_eq!(world.names(&execution).await.len(), 2);
}

/// What newer rules decided cannot be folded here, so nothing is said of it either.
#[tokio::test]
async fn what_newer_rules_decided_is_left_to_a_newer_binary() {
    let world = World::alone().await;
    let submitted = world.submit(&intent(echo())).await;
    let execution = submitted.text("executionId");
    let cancelled = CancelRequested {
        execution_id: execution.parse().unwrap(),
        by: serde_json::from_value(json!({ "type": "user", "id": "sam", "grants": [] })).unwrap(),
        reason: None,
        requested_at: System.now(),
        rules: RULES + 1,
    };
    world.store(Service::Intake, &execution, cancelled).await;
    let plan = "0198f3b1-0000-7000-8000-000000000000";
    for (operation, input) in [
        ("execution.cancel", json!({ "cancelledBy": "sam" })),
        ("execution.start", json!({ "planId": plan })),
        (
            "plan.compile",
            json!({ "intentId": submitted.text("intentId") }),
        ),
    ] {
        let mut input = input;
        input["executionId"] = json!(execution);
        let answer = world.ask("sam", operation, &input).await;
        let detail = answer.is(Code::LogUnavailable).body["detail"].as_str();
        assert!(detail.unwrap().contains("upgrade"), "{answer:#?}");
    }
    assert_eq!(world.names(&execution).await.len(), 2);
}

/// The broker dies and comes back: what was answered is there, and the rest is not answered.
#[tokio::test]
async fn the_broker_may_go_and_come_back() {
    let mut world = World::on_broker().await;
    let input = json!({ "workspaceId": WORKSPACE, "text": "before" });
    let before = world.submit(&input).await.text("executionId");
    let mut broker = world.broker.take().unwrap();
    broker.kill9().await;
    let key = [("idempotency-key", "during")];
    let input = intent(echo());
    let (during, ()) = tokio::join!(
        world.ask_with("sam", "intent.submit", &input, &key),
        broker.restart(),
    );
    let execution = if during.status == 201 {
        during.text("executionId")
    } else {
        during.is(Code::LogUnavailable);
        let again = world.ask_with("sam", "intent.submit", &input, &key).await;
        again.text("executionId")
    };
    assert_eq!(world.names(&before).await[0], "intent.received");
    let names = world.names(&execution).await;
    assert_eq!(
        names
            .iter()
            .filter(|name| *name == "intent.received")
            .count(),
        1
    );
}
