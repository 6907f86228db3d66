use contracts::problem::Code;
use domain::execution::Known;
use serde_json::{Value, json};

use crate::{
    caller::Answer,
    cases::{echo, intent, refund},
    world::{WORKSPACE, World},
};

fn compile(submitted: &Answer) -> Value {
    json!({ "executionId": submitted.text("executionId"), "intentId": submitted.text("intentId") })
}

/// An intent for which an outside planner is asked.
fn undrafted() -> Value {
    json!({ "workspaceId": WORKSPACE, "text": "something that no playbook knows" })
}

/// Judged, and not started before somebody does.
async fn judged(world: &World, draft: Value) -> Value {
    let mut input = intent(draft);
    input["start"] = json!("manual");
    let submitted = world.submit(&input).await;
    let plan = world
        .ask("sam", "plan.compile", &compile(&submitted))
        .await
        .text("planId");
    let execution = submitted.text("executionId");
    world
        .until(&execution, |state| {
            state.known().is_some_and(|known| known.judged().is_some())
        })
        .await;
    json!({ "executionId": execution, "planId": plan })
}

#[tokio::test]
async fn compile_waits_for_the_plan() {
    let world = World::new().await;
    let submitted = world.submit(&intent(echo())).await;
    let plan = world.ask("sam", "plan.compile", &compile(&submitted)).await;
    assert_eq!(plan.ok()["stepCount"], 1);
    assert_eq!(plan.text("deterministicHash").len(), 64);
    // And gives the recorded one ever after.
    let again = world.ask("sam", "plan.compile", &compile(&submitted)).await;
    assert_eq!(again.text("planId"), plan.text("planId"));
    assert_eq!(again.text("compiledAt"), plan.text("compiledAt"));
}

#[tokio::test]
async fn a_plan_that_does_not_compile_is_refused_with_all_findings() {
    let world = World::new().await;
    let draft = json!({ "steps": [
        { "id": "a", "uses": "no.such/action" },
        { "id": "b", "uses": "core.echo/shout" },
        { "id": "b", "uses": "core.echo/echo", "needs": ["c"] },
    ] });
    let submitted = world.submit(&intent(draft)).await;
    let answer = world.ask("sam", "plan.compile", &compile(&submitted)).await;
    assert!(
        answer.is(Code::PlanRejected).findings().len() >= 3,
        "{answer:#?}"
    );
    assert!(answer.body["position"].is_string());
}

#[tokio::test]
async fn what_comes_later_is_said_to_come_later() {
    let world = World::new().await;
    let draft = json!({ "steps": [
        { "id": "a", "uses": "core.echo/echo", "with": { "message": "hi" }, "when": "later" },
    ] });
    let submitted = world.submit(&intent(draft)).await;
    let answer = world.ask("sam", "plan.compile", &compile(&submitted)).await;
    answer.is(Code::NotSupportedYet);
}

#[tokio::test]
async fn compile_knows_only_the_executions_own_intent() {
    let world = World::new().await;
    let one = world.submit(&intent(echo())).await;
    let other = world.submit(&intent(echo())).await;
    let unknown = "0198f3b1-0000-7000-8000-000000000000";
    for (execution, intent) in [
        (one.text("executionId"), other.text("intentId")),
        (unknown.to_owned(), one.text("intentId")),
    ] {
        let input = json!({ "executionId": execution, "intentId": intent });
        world
            .ask("sam", "plan.compile", &input)
            .await
            .is(Code::IntentNotFound);
    }
    world
        .ask("eve", "plan.compile", &compile(&one))
        .await
        .is(Code::IntentNotFound);
}

/// Whoever submits and drafts in one go may be ahead of the planner.
#[tokio::test]
async fn an_outside_planner_drafts_the_plan() {
    let world = World::new().await;
    let submitted = world.submit(&undrafted()).await;
    let mut input = compile(&submitted);
    input["draft"] = echo();
    input["plannerModel"] = json!("model-1");
    let plan = world.ask("llm", "plan.compile", &input).await;
    assert_eq!(plan.ok()["stepCount"], 1);
    let again = world.ask("llm", "plan.compile", &input).await;
    assert_eq!(again.text("planId"), plan.text("planId"));
    let names = world.names(&submitted.text("executionId")).await;
    let drafted = names.iter().filter(|name| *name == "plan.drafted").count();
    assert_eq!(drafted, 1, "{names:?}");
    assert_eq!(
        names[..4],
        [
            "intent.received",
            "plan.draft.requested",
            "plan.drafted",
            "plan.compiled"
        ]
    );
}

#[tokio::test]
async fn a_draft_that_does_not_compile_may_be_followed_by_another() {
    let world = World::new().await;
    let submitted = world.submit(&undrafted()).await;
    let mut input = compile(&submitted);
    input["draft"] = json!({ "steps": [{ "id": "a", "uses": "no.such/action" }] });
    let refused = world.ask("llm", "plan.compile", &input).await;
    assert_eq!(refused.is(Code::PlanRejected).findings().len(), 1);
    input["draft"] = echo();
    world.ask("llm", "plan.compile", &input).await.ok();
}

#[tokio::test]
async fn while_a_draft_is_awaited_there_is_no_plan() {
    let world = World::new().await;
    let submitted = world.submit(&undrafted()).await;
    let answer = world.ask("sam", "plan.compile", &compile(&submitted)).await;
    answer.is(Code::DraftRequired);
}

#[tokio::test]
async fn a_draft_that_nobody_awaits_is_refused() {
    let world = World::new().await;
    let submitted = world.submit(&intent(echo())).await;
    let mut input = compile(&submitted);
    world.ask("sam", "plan.compile", &input).await.ok();
    input["draft"] = refund();
    world
        .ask("llm", "plan.compile", &input)
        .await
        .is(Code::NotAwaitingDraft);
}

#[tokio::test]
async fn a_cancelled_execution_compiles_nothing() {
    let world = World::new().await;
    let submitted = world.submit(&undrafted()).await;
    let execution = submitted.text("executionId");
    let cancel = json!({ "executionId": execution, "cancelledBy": "sam" });
    world.ask("sam", "execution.cancel", &cancel).await.ok();
    let answer = world.ask("sam", "plan.compile", &compile(&submitted)).await;
    answer.is(Code::ExecutionEnded);
}

#[tokio::test]
async fn verify_asks_for_a_new_verdict() {
    let world = World::new().await.equipped().await;
    let input = judged(&world, refund()).await;
    let answer = world.ask("sam", "plan.verify", &input).await;
    assert_eq!(answer.ok()["verdict"], "assist", "{answer:#?}");
    assert_eq!(answer.body["requiresApproval"], true);
    assert_eq!(answer.body["riskTier"], "medium");
    assert_eq!(answer.text("planHash").len(), 64);
    let execution = input["executionId"].as_str().unwrap();
    let names = world.names(execution).await;
    assert_eq!(
        names[2..],
        [
            "plan.verified",
            "plan.verification.requested",
            "plan.verified"
        ]
    );
    let expected = answer.text("policyVersion");
    let mut bound = input.clone();
    bound["policyVersion"] = json!(expected);
    world.ask("sam", "plan.verify", &bound).await.ok();
}

#[tokio::test]
async fn verify_is_binding_only_under_the_active_policy() {
    let world = World::new().await.equipped().await;
    let mut input = judged(&world, refund()).await;
    for other in ["0".repeat(64), "none".to_owned()] {
        input["policyVersion"] = json!(other);
        world
            .ask("sam", "plan.verify", &input)
            .await
            .is(Code::PolicyNotActive);
    }
    let names = world.names(input["executionId"].as_str().unwrap()).await;
    assert_eq!(names.len(), 3, "nothing was asked: {names:?}");
}

#[tokio::test]
async fn a_blocked_plan_says_why() {
    // Without a policy everything is blocked.
    let world = World::new().await;
    let submitted = world.submit(&intent(echo())).await;
    let plan = world
        .ask("sam", "plan.compile", &compile(&submitted))
        .await
        .text("planId");
    let execution = submitted.text("executionId");
    world
        .until(&execution, |state| {
            state.known().is_some_and(Known::is_ended)
        })
        .await;
    let input = json!({ "executionId": execution, "planId": plan });
    world
        .ask("sam", "plan.verify", &input)
        .await
        .is(Code::ExecutionEnded);
    world
        .ask("sam", "execution.start", &input)
        .await
        .is(Code::ExecutionEnded);
    assert_eq!(
        world.names(&execution).await.last().unwrap(),
        "plan.rejected"
    );
}

#[tokio::test]
async fn verify_and_start_know_only_the_plan_of_the_execution() {
    let world = World::new().await.equipped().await;
    let input = judged(&world, refund()).await;
    let other_plan = "0198f3b1-0000-7000-8000-000000000000";
    for operation in ["plan.verify", "execution.start"] {
        let wrong = json!({ "executionId": input["executionId"], "planId": other_plan });
        world
            .ask("sam", operation, &wrong)
            .await
            .is(Code::PlanNotFound);
        let unknown = json!({ "executionId": other_plan, "planId": input["planId"] });
        world
            .ask("sam", operation, &unknown)
            .await
            .is(Code::ExecutionNotFound);
        world
            .ask("eve", operation, &input)
            .await
            .is(Code::ExecutionNotFound);
    }
}

#[tokio::test]
async fn what_has_started_is_not_judged_again() {
    let world = World::new().await.equipped().await;
    let input = judged(&world, refund()).await;
    world.ask("sam", "execution.start", &input).await.ok();
    world
        .ask("sam", "plan.verify", &input)
        .await
        .is(Code::AlreadyStarted);
}
