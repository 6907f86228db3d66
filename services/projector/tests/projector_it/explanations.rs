//! `policy.explain`

use contracts::{
    canonical::Digest,
    event::Event,
    plan::{Mode, RiskTier},
};
use policy::shipped::default_bundle;

use super::{
    story::{chained, echo, faulty},
    world::{Caller, READER, World},
};

#[tokio::test]
async fn a_verdict_is_explained_by_the_bundle_it_was_made_by() {
    let world = World::new();
    let first = world.story.activate(&default_bundle()).await;
    let id = world.story.submitted(Mode::Autonomous, &chained()).await;
    let mut other = default_bundle();
    other.thresholds.insert("large_amount_minor".to_owned(), 7);
    let second = world.story.activate(&other).await;
    assert_ne!(first, second);
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let explained = caller
        .ok(&format!("/v1/policy.explain?executionId={id}"))
        .await;
    let at_resource = caller.ok(&format!("/v1/executions/{id}/policy")).await;
    assert_eq!(at_resource, explained);
    assert_eq!(explained["policyVersion"], first.to_string());
    assert_eq!(explained["verdict"], "autonomous");
    assert_eq!(explained["riskTier"], "low");
    let policy = &explained["policies"][0];
    assert!(
        policy["text"].as_str().unwrap().contains("permit"),
        "{explained:#}"
    );
    assert!(policy["annotations"].is_object());
    assert_eq!(policy["effect"], "permit");
    assert_eq!(policy["steps"].as_array().unwrap().len(), 2);
    // What was decided comes out again, under the bundle of then.
    assert_eq!(explained["reevaluation"]["same"], true, "{explained:#}");
    assert!(explained["engineVersion"].is_string());
    assert!(explained["catalogue"].is_u64());
    assert_eq!(explained["facts"]["steps"].as_object().unwrap().len(), 2);

    // The second verdict saw an input that was not known to the first.
    let path = format!("/v1/policy.explain?executionId={id}&stepId=repeat");
    let explained = caller.ok(&path).await;
    assert_eq!(explained["stepId"], "repeat");
    assert_eq!(explained["reevaluation"]["same"], true, "{explained:#}");
    assert_eq!(explained["facts"]["steps"]["repeat"]["inputsKnown"], true);
    assert!(!explained["reasons"].as_array().unwrap().is_empty());
    let path = format!("/v1/policy.explain?executionId={id}&stepId=third");
    Caller::refused(&caller.get(&path).await, 404, "STEP_NOT_FOUND");
    projector.stop().await;
}

#[tokio::test]
async fn without_a_policy_everything_is_blocked_and_that_is_said() {
    let world = World::new();
    let id = world.story.submitted(Mode::Autonomous, &echo()).await;
    let projector = world.projector().await;
    let path = format!("/v1/policy.explain?executionId={id}");
    let explained = projector.caller(READER).ok(&path).await;
    assert_eq!(explained["policyVersion"], "none");
    assert_eq!(explained["verdict"], "blocked");
    assert!(!explained["reasons"].as_array().unwrap().is_empty());
    assert_eq!(explained["reevaluation"]["same"], true, "{explained:#}");
    projector.stop().await;
}

/// A verdict that someone else than the verifier has made up, and a bundle that is not there.
#[tokio::test]
async fn a_verdict_that_does_not_come_out_again_is_said_to_differ() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let mut ids = Vec::new();
    for missing in [false, true] {
        let (id, _) = world.story.received(Mode::Autonomous, &echo()).await;
        assert!(world.story.goes_on(id).await, "it is planned");
        world
            .story
            .decide_with(id, |judged| {
                for event in judged.iter_mut() {
                    let Event::PlanVerified(verified) = event else {
                        continue;
                    };
                    verified.risk_tier = RiskTier::Medium;
                    for step in verified.steps.values_mut() {
                        step.tier = RiskTier::Medium;
                    }
                    if missing {
                        verified.policy_version = Some(Digest::of(b"another"));
                    }
                }
            })
            .await;
        ids.push(id);
    }
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let [forged, unknown] = [ids[0], ids[1]];
    for step in ["", "&stepId=say"] {
        let path = format!("/v1/policy.explain?executionId={forged}{step}");
        let again = &caller.ok(&path).await["reevaluation"];
        assert_eq!(again["same"], false, "{again:#}");
        assert_eq!(again["riskTier"], "low");
        assert_eq!(again["verdict"], "autonomous");
        let path = format!("/v1/policy.explain?executionId={unknown}{step}");
        let again = &caller.ok(&path).await["reevaluation"];
        assert!(again.get("same").is_none(), "{again:#}");
        assert!(again["reason"].as_str().unwrap().contains("bundle"));
    }
    projector.stop().await;
}

#[tokio::test]
async fn a_plan_without_a_verdict_has_no_explanation() {
    let world = World::new();
    let id = world.story.submitted(Mode::Autonomous, &faulty()).await;
    let projector = world.projector().await;
    let path = format!("/v1/policy.explain?executionId={id}");
    Caller::refused(
        &projector.caller(READER).get(&path).await,
        409,
        "NOT_VERIFIED",
    );
    projector.stop().await;
}
