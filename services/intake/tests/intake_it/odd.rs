//! Inputs that are almost in order.

use serde_json::{Value, json};

use crate::{
    cases::{bundle, echo, installation, intent, manifest},
    world::World,
};

/// A few numbers, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        let Self(state) = self;
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        usize::try_from(*state >> 11).unwrap() % end
    }
}

/// The places in a value, itself among them.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                places(member, &domain::schema::join(at, name), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// One place after the other is replaced by what does not belong there.
#[tokio::test]
async fn whatever_is_sent_is_answered() {
    let world = World::alone().await;
    let id = "0198f3b1-0000-7000-8000-000000000000";
    let vote = |who: &str| json!({ "executionId": id, "stepId": "a", who: "ada", "reason": "x" });
    let mut playbook = intent(echo());
    playbook["metadata"] = json!({ "playbook": "acme.orders/refund", "params": { "a": [1] } });
    playbook["deadlineAt"] = json!("2099-01-01T00:00:00Z");
    let good = [
        ("sam", "intent.submit", playbook),
        (
            "llm",
            "plan.compile",
            json!({ "executionId": id, "intentId": id, "draft": echo() }),
        ),
        (
            "sam",
            "plan.verify",
            json!({ "executionId": id, "planId": id, "policyVersion": "0" }),
        ),
        (
            "sam",
            "execution.start",
            json!({ "executionId": id, "planId": id, "mode": "assist" }),
        ),
        ("ada", "execution.approve", vote("approvedBy")),
        ("ada", "execution.reject", vote("rejectedBy")),
        ("sam", "skill.install", installation(&manifest("1.0.0"))),
        ("sam", "policy.activate", json!({ "bundle": bundle() })),
    ];
    let odd = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0.5),
        json!(1e308),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(9_007_199_254_740_993_u64),
        json!(""),
        json!("\u{0}\u{202e}\u{10ffff}\r\n"),
        json!("x".repeat(5000)),
        json!([]),
        json!({}),
        json!({ "": { "$ref": "#" }, "$serde_json::private::Number": "1" }),
        json!([[[[{}]]]]),
        json!("+262143-12-31T23:59:59Z"),
        json!("0000-01-01T00:00:00Z"),
    ];
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..500 {
        let (who, operation, input) = &good[numbers.below(good.len())];
        let mut found = Vec::new();
        places(input, "", &mut found);
        let mut input = input.clone();
        let place = &found[1 + numbers.below(found.len() - 1)];
        *input.pointer_mut(place).unwrap() = odd[numbers.below(odd.len())].clone();
        let answer = world.ask(who, operation, &input).await;
        let expected = answer.status < 500 || answer.body["code"] == "OUTCOME_PENDING";
        assert!(expected, "{operation} {place} {input:#}: {answer:#?}");
    }
}
