//! Policy is data: swapping the bundle flips verdicts, and nothing else does.

use std::time::Duration;

use contracts::{
    bundle::Bundle,
    event::{Event, EventName},
    plan::{RiskTier, Verdict},
    record::Recorded,
};
use serde_json::json;

use super::{
    worker::Worker,
    world::{World, intent, names, trusting},
};

fn with_policy(text: &str) -> Bundle {
    let mut bundle = trusting();
    bundle.policies.clear();
    if !text.is_empty() {
        bundle
            .policies
            .insert("test.cedar".to_owned(), text.to_owned());
    }
    bundle
}

fn verdict(history: &[Recorded]) -> (Verdict, RiskTier) {
    let verified = history.iter().find_map(|recorded| match &recorded.event {
        Event::PlanVerified(verified) => Some(verified),
        _ => None,
    });
    let verified = verified.expect("no verdict");
    (verified.verdict, verified.risk_tier)
}

#[tokio::test]
async fn only_the_bundle_decides_and_high_risk_always_waits_for_a_human() {
    let world = World::new(1).await;
    let _services = world.services();
    let worker = Worker::serve(&world.journal, Duration::ZERO).await;
    let look = intent(&json!([{ "id": "look", "uses": "core.echo/echo", "with": {} }]));

    // No policy at all.
    let history = world.finished(world.submit(&look).await).await;
    assert_eq!(names(&history).last().unwrap(), "plan.rejected");
    assert_eq!(verdict(&history).0, Verdict::Blocked);

    // A bundle without a policy.
    world.activate(&with_policy("")).await;
    let history = world.finished(world.submit(&look).await).await;
    assert_eq!(names(&history).last().unwrap(), "plan.rejected");

    // The shipped one.
    world.activate(&trusting()).await;
    world.install_shop().await;
    let history = world.finished(world.submit(&look).await).await;
    assert_eq!(names(&history).last().unwrap(), "execution.completed");
    assert_eq!(verdict(&history).0, Verdict::Autonomous);

    // Everything permitted: what is high risk waits all the same.
    let everything = r#"@id("everything") permit(principal, action, resource);"#;
    world.activate(&with_policy(everything)).await;
    let delete = intent(&json!([{ "id": "gone", "uses": "test.shop/delete", "with": {} }]));
    let id = world.submit(&delete).await;
    world.until(id, EventName::StepBlocked).await;
    assert_eq!(worker.counts().len(), 0, "it ran before anyone approved");
    world.approve(id, "gone").await.unwrap();
    let history = world.finished(id).await;
    assert_eq!(verdict(&history), (Verdict::Assist, RiskTier::High));
    assert_eq!(names(&history).last().unwrap(), "execution.completed");
    assert_eq!(worker.counts(), [1]);

    // Back to a bundle that forbids it.
    let nothing = r#"@id("never") forbid(principal, action, resource);"#;
    world.activate(&with_policy(nothing)).await;
    let history = world.finished(world.submit(&look).await).await;
    assert_eq!(names(&history).last().unwrap(), "plan.rejected");
}
