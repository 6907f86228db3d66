//! What a worker gets is what is published of it.

use std::collections::BTreeSet;

use contracts::{event::EventName, registry::asyncapi};
use journal::request::{Reply, skill_subject};
use serde_json::{Map, Value, json};

use super::{
    door::{Door, SAM},
    world::{World, names, workspace},
};

#[tokio::test]
async fn a_call_is_as_it_is_described() {
    let (world, _services) = World::running(1).await;
    let subject = skill_subject(&workspace(), "shop");
    let mut calls = world.journal.serve(&subject, "shop").await.unwrap();
    let door = Door::open(&world, "intake").await;
    let intent = json!({
        "workspaceId": "demo",
        "text": "refund this order",
        "draft": { "steps": [
            { "id": "pay", "uses": "test.shop/refund", "with": { "order": "7" } },
        ]},
    });
    let (_, answer) = door.ask_with(SAM, "intent.submit", None, &intent).await;
    let id = answer["executionId"].as_str().unwrap().parse().unwrap();
    world.until(id, EventName::StepBlocked).await;
    world.approve(id, "pay").await.unwrap();

    let call = calls.next().await.unwrap();
    let document = asyncapi::document();
    let schema = &document["components"]["schemas"]["SkillCall"];
    let body: Map<String, Value> = serde_json::from_slice(&call.payload).unwrap();
    let described = schema["properties"].as_object().unwrap();
    assert_eq!(
        body.keys().collect::<BTreeSet<_>>(),
        described.keys().collect::<BTreeSet<_>>()
    );
    let headers = &document["components"]["messages"]["skill.call"]["headers"];
    let described = headers["properties"].as_object().unwrap();
    let sent: BTreeSet<&str> = call.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert!(
        sent.iter().all(|name| described.contains_key(*name)),
        "{sent:?}"
    );
    for name in headers["required"].as_array().unwrap() {
        assert!(sent.contains(name.as_str().unwrap()), "{name}: {sent:?}");
    }
    let reply = call.reply.clone().unwrap();
    assert!(reply.starts_with("_INBOX_executor."), "{reply}");

    let output = json!({ "output": { "did": "refund", "with": body["inputs"] } });
    let reply = Reply {
        headers: Vec::new(),
        payload: output.to_string().into_bytes().into(),
    };
    call.respond(reply).await.unwrap();
    let history = world.finished(id).await;
    assert_eq!(names(&history).last().unwrap(), "execution.completed");
}
