//! Intents that come as `CloudEvents` over HTTP.

use contracts::{event::Event, problem::Code};
use serde_json::{Value, json};

use crate::{
    caller::{self, Answer},
    cases::{echo, intent, refund},
    world::{World, token},
};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

pub fn event(id: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": "/orders/desk",
        "type": "controlPlane.intent.submit",
        "datacontenttype": "application/json",
        "data": data,
    })
}

async fn post(
    world: &World,
    who: &str,
    kind: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let bearer = format!("Bearer {}", token(who));
    let mut all = vec![("authorization", bearer.as_str()), ("content-type", kind)];
    all.extend_from_slice(headers);
    caller::post(world.address, "/v1/events", &all, body).await
}

async fn send(world: &World, kind: &str, sent: &Value) -> Answer {
    post(world, "sam", kind, &[], &serde_json::to_vec(sent).unwrap()).await
}

const ATTRIBUTES: [(&str, &str); 4] = [
    ("CE-SpecVersion", "1.0"),
    ("ce-id", "1"),
    ("ce-source", "/orders/desk"),
    ("ce-type", "controlPlane.intent.submit"),
];

#[tokio::test]
async fn an_event_is_an_execution_in_whichever_mode_and_however_often() {
    let world = World::new().await;
    let sent = intent(echo());
    let first = send(&world, STRUCTURED, &event("1", &sent)).await;
    assert_eq!(first.status, 201, "{first:#?}");
    let execution = first.text("executionId");
    let place = format!("/v1/executions/{execution}");
    assert_eq!(first.header("location"), Some(place.as_str()));

    let body = serde_json::to_vec(&sent).unwrap();
    let binary = post(&world, "sam", "application/json", &ATTRIBUTES, &body).await;
    let mut encoded = event("1", &Value::Null);
    encoded.as_object_mut().unwrap().remove("data");
    encoded["data_base64"] = base64(&body).into();
    for again in [
        binary,
        send(&world, STRUCTURED, &event("1", &sent)).await,
        send(&world, STRUCTURED, &encoded).await,
    ] {
        assert_eq!(again.status, 200, "{again:#?}");
        assert_eq!(again.text("executionId"), execution);
    }
    let names = world.names(&execution).await;
    let received = names.iter().filter(|name| *name == "intent.received");
    assert_eq!(received.count(), 1);

    send(&world, STRUCTURED, &event("1", &intent(refund())))
        .await
        .is(Code::IdempotencyConflict);
    let mut elsewhere = event("1", &sent);
    elsewhere["source"] = "/orders/shop".into();
    let other = send(&world, STRUCTURED, &elsewhere).await;
    assert_ne!(other.text("executionId"), execution);
    let other = send(&world, STRUCTURED, &event("2", &sent)).await;
    assert_ne!(other.text("executionId"), execution);
}

#[tokio::test]
async fn what_is_percent_encoded_in_a_header_is_what_stands_in_the_object() {
    let world = World::new().await;
    let mut sent = event("ürsprung 1", &intent(echo()));
    sent["source"] = "/orders/caf\u{e9}".into();
    let first = send(&world, STRUCTURED, &sent).await;
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-type", "controlPlane.intent.submit"),
        ("ce-id", "%C3%BCrsprung%201"),
        ("ce-source", "/orders/caf%c3%a9"),
    ];
    let body = serde_json::to_vec(&intent(echo())).unwrap();
    let again = post(&world, "sam", "application/json", &headers, &body).await;
    assert_eq!(again.text("executionId"), first.text("executionId"));
}

#[tokio::test]
async fn the_trace_of_the_event_goes_before_that_of_the_request() {
    let world = World::new().await;
    let own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let other = "00-11111111111111111111111111111111-2222222222222222-01";
    let mut sent = event("1", &intent(echo()));
    sent["traceparent"] = own.into();
    let body = serde_json::to_vec(&sent).unwrap();
    let answer = post(&world, "sam", STRUCTURED, &[("traceparent", other)], &body).await;
    let history = world.history(&answer.text("executionId")).await;
    let stored = history[0].attributes.traceparent.as_deref().unwrap();
    assert_eq!(stored.split('-').nth(1), own.split('-').nth(1));
}

#[tokio::test]
async fn a_batch_is_taken_as_a_whole_or_says_what_was_not() {
    let world = World::new().await;
    let ids = ["1", "2", "3"];
    let sent: Vec<Value> = ids.map(|id| event(id, &intent(echo()))).into();
    let answer = send(&world, BATCH, &json!(sent)).await;
    assert_eq!(answer.status, 200, "{answer:#?}");
    let items = answer.body["items"].as_array().unwrap();
    let taken: Vec<_> = items
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert_eq!(taken, ids);
    let alone = send(&world, STRUCTURED, &sent[1]).await;
    assert_eq!(alone.body["executionId"], items[1]["executionId"]);

    let mut faulty = sent.clone();
    faulty[0]["type"] = "com.example.order".into();
    faulty[2]["data"]["txet"] = "?".into();
    faulty[2]["data"]["text"] = 7.into();
    faulty.push(event("2", &intent(refund())));
    faulty.push(event("4", &intent(echo())));
    faulty.push(json!("nonsense"));
    let answer = send(&world, BATCH, &json!(faulty)).await;
    answer.is(Code::BatchIncomplete);
    assert_eq!(
        answer.findings(),
        [
            "INVALID_VALUE /0/type",
            "WRONG_TYPE /2/data/text",
            "UNKNOWN_MEMBER /2/data/txet",
            "IDEMPOTENCY_CONFLICT /3",
            "INVALID_JSON /5",
        ]
    );
    // What was in order is taken all the same.
    let fourth = send(&world, STRUCTURED, &event("4", &intent(echo()))).await;
    assert_eq!(fourth.status, 200, "{fourth:#?}");

    let empty = send(&world, BATCH, &json!([])).await;
    assert_eq!(empty.ok()["items"], json!([]));
    send(&world, BATCH, &event("1", &intent(echo())))
        .await
        .is(Code::InvalidJson);
    let many: Vec<Value> = (0..257).map(|_| json!({})).collect();
    send(&world, BATCH, &json!(many))
        .await
        .is(Code::BodyTooLarge);
}

#[tokio::test]
async fn every_fault_of_an_event_is_named() {
    let world = World::new().await;
    let whole = event("1", &intent(echo()));
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut event = whole.clone();
        change(&mut event);
        event
    };
    let long = "x".repeat(2000);
    for (sent, findings) in [
        (
            json!({}),
            &[
                "MISSING_MEMBER /data",
                "MISSING_MEMBER /specversion",
                "MISSING_MEMBER /type",
                "MISSING_MEMBER /id",
                "MISSING_MEMBER /source",
            ][..],
        ),
        (
            changed(&|it| it["specversion"] = "0.3".into()),
            &["INVALID_VALUE /specversion"],
        ),
        (
            changed(&|it| it["specversion"] = 1.into()),
            &["WRONG_TYPE /specversion"],
        ),
        (changed(&|it| it["id"] = "".into()), &["INVALID_VALUE /id"]),
        (changed(&|it| it["id"] = " ".into()), &["INVALID_VALUE /id"]),
        (
            changed(&|it| it["id"] = "a\u{0}b".into()),
            &["INVALID_VALUE /id"],
        ),
        (
            changed(&|it| it["id"] = long.clone().into()),
            &["INVALID_VALUE /id"],
        ),
        (
            changed(&|it| it["id"] = Value::Null),
            &["MISSING_MEMBER /id"],
        ),
        (
            changed(&|it| it["source"] = "a b".into()),
            &["INVALID_VALUE /source"],
        ),
        (
            changed(&|it| it["source"] = long.clone().into()),
            &["INVALID_VALUE /source"],
        ),
        (
            changed(&|it| it["type"] = "com.example.order".into()),
            &["INVALID_VALUE /type"],
        ),
        (
            changed(&|it| it["data"] = "text".into()),
            &["WRONG_TYPE /data"],
        ),
        (
            changed(&|it| it["data_base64"] = "e30=".into()),
            &["DUPLICATE_MEMBER /data_base64"],
        ),
        (
            changed(&|it| {
                it.as_object_mut().unwrap().remove("data");
                it["data_base64"] = "?".into();
            }),
            &["INVALID_VALUE /data_base64"],
        ),
        (
            changed(&|it| it["datacontenttype"] = "text/xml".into()),
            &["INVALID_VALUE /datacontenttype"],
        ),
        (
            changed(&|it| it["data"] = json!({})),
            &[
                "MISSING_MEMBER /data/text",
                "MISSING_MEMBER /data/workspaceId",
            ],
        ),
    ] {
        let answer = send(&world, STRUCTURED, &sent).await;
        answer.is(Code::InvalidInput);
        assert_eq!(answer.findings(), findings, "{sent}");
    }
    // What means nothing here is let pass.
    let extended = changed(&|it| it["priority"] = 7.into());
    send(&world, STRUCTURED, &extended).await.ok();
}

#[tokio::test]
async fn faulty_headers_are_named_too() {
    let world = World::new().await;
    let body = serde_json::to_vec(&intent(echo())).unwrap();
    let json = "application/json";
    let bare = post(&world, "sam", json, &[], &body).await;
    bare.is(Code::InvalidInput);
    assert_eq!(bare.findings().len(), 4, "{bare:#?}");
    let mut twice = ATTRIBUTES.to_vec();
    twice.push(("ce-id", "2"));
    let twice = post(&world, "sam", json, &twice, &body).await;
    assert_eq!(twice.findings(), ["DUPLICATE_MEMBER /id"]);
    let mut odd = ATTRIBUTES.to_vec();
    odd[1] = ("ce-id", "%ff");
    let odd = post(&world, "sam", json, &odd, &body).await;
    assert_eq!(odd.findings(), ["INVALID_VALUE /id"]);
}

#[tokio::test]
async fn who_may_not_submit_may_not_by_an_event_either() {
    let world = World::new().await;
    let body = serde_json::to_vec(&event("1", &intent(echo()))).unwrap();
    post(&world, "guest", STRUCTURED, &[], &body)
        .await
        .is(Code::Forbidden);
    post(&world, "old", STRUCTURED, &[], &body)
        .await
        .is(Code::Unauthenticated);
    post(&world, "eve", STRUCTURED, &[], &body)
        .await
        .is(Code::WorkspaceMismatch);
    let mut named = event("1", &intent(echo()));
    named["data"]["actorId"] = "ada".into();
    send(&world, STRUCTURED, &named)
        .await
        .is(Code::ActorMismatch);
    named["id"] = "2".into();
    let body = serde_json::to_vec(&named).unwrap();
    let answer = post(&world, "proxy", STRUCTURED, &[], &body).await;
    let history = world.history(&answer.text("executionId")).await;
    let Event::IntentReceived(received) = &history[0].event else {
        panic!("{history:#?}");
    };
    assert_eq!(received.actor.id.as_str(), "ada");
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    let world = World::new().await;
    for (kind, body, code) in [
        (STRUCTURED, &b""[..], Code::InvalidJson),
        (STRUCTURED, b"[]", Code::InvalidJson),
        (
            STRUCTURED,
            b"{\"id\":\"a\",\"id\":\"b\"}",
            Code::InvalidJson,
        ),
        (BATCH, b"{}", Code::InvalidJson),
        ("text/plain", b"{}", Code::UnsupportedMediaType),
        (
            "application/cloudevents+xml",
            b"{}",
            Code::UnsupportedMediaType,
        ),
    ] {
        post(&world, "sam", kind, &[], body).await.is(code);
    }
    caller::get(world.address, "/v1/events")
        .await
        .is(Code::MethodNotAllowed);
}

/// A text in base64, by hand: a test needs no library for it.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for part in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..part.len()].copy_from_slice(part);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            let letter = char::from(ALPHABET[index as usize]);
            out.push(if place <= part.len() { letter } else { '=' });
        }
    }
    out
}
