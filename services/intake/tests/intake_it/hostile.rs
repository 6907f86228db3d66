use contracts::problem::Code;
use serde_json::{Value, json};

use crate::{
    caller::{self, Answer},
    cases::{bundle, echo, installation, intent, manifest},
    world::{WORKSPACE, World, token},
};

async fn send(world: &World, path: &str, media_type: &str, body: &[u8]) -> Answer {
    let bearer = format!("Bearer {}", token("sam"));
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", media_type),
    ];
    caller::post(world.address, path, &headers, body).await
}

async fn submit(world: &World, body: &str) -> Answer {
    send(
        world,
        "/v1/intent.submit",
        "application/json",
        body.as_bytes(),
    )
    .await
}

#[tokio::test]
async fn what_is_not_one_json_object_is_not_read() {
    let world = World::alone().await;
    for body in [
        "",
        " ",
        "{",
        "null",
        "[]",
        "\"text\"",
        "42",
        "{} {}",
        "{}x",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":1e999}",
        "{\"a\":NaN}",
        "{\"a\":\"\\ud800\"}",
        "\u{feff}{}",
    ] {
        submit(&world, body).await.is(Code::InvalidJson);
    }
    let not_utf8 = b"{\"workspaceId\":\"acme\",\"text\":\"\xff\xfe\"}";
    let answer = send(&world, "/v1/intent.submit", "application/json", not_utf8).await;
    answer.is(Code::InvalidJson);
}

/// Which of two equal members counts depends on the reader, so neither does.
#[tokio::test]
async fn a_member_that_stands_twice_is_refused_by_its_place() {
    let world = World::alone().await;
    for (body, place) in [
        (r#"{"text":"a","workspaceId":"acme","text":"b"}"#, "/text"),
        (r#"{"text":"a","metadata":{"x":1,"x":1}}"#, "/metadata/x"),
        (
            r#"{"draft":{"steps":[{},{"with":{"a/b":{"c~":0,"c~":1}}}]}}"#,
            "/draft/steps/1/with/a~1b/c~0",
        ),
        (r#"{"te\u0078t":"a","text":"b"}"#, "/text"),
    ] {
        let answer = submit(&world, body).await;
        let expected = format!("DUPLICATE_MEMBER {place}");
        assert_eq!(answer.is(Code::InvalidJson).findings(), [expected]);
    }
}

#[tokio::test]
async fn depth_is_bounded() {
    let world = World::alone().await;
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"workspaceId":"acme","text":"hi","metadata":{{"x":{open}{close}}}}}"#)
    };
    submit(&world, &nested(62)).await.ok();
    submit(&world, &nested(63)).await.is(Code::TooDeep);
    submit(&world, &nested(100_000)).await.is(Code::TooDeep);
    let objects = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    submit(&world, &objects).await.is(Code::TooDeep);
}

/// Small in bytes, and large in memory.
#[tokio::test]
async fn the_number_of_values_is_bounded() {
    let world = World::alone().await;
    // Beside them there are the whole, its members, and what holds them.
    for (values, code) in [(19_995, None), (19_996, Some(Code::BodyTooLarge))] {
        let items = vec!["[]"; values].join(",");
        let body = format!(r#"{{"workspaceId":"acme","text":"hi","metadata":{{"x":[{items}]}}}}"#);
        let answer = submit(&world, &body).await;
        match code {
            Some(code) => drop(answer.is(code)),
            None => drop(answer.ok()),
        }
    }
}

#[tokio::test]
async fn only_json_is_read() {
    let world = World::alone().await;
    let body = intent(echo()).to_string();
    for good in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/json;charset=\"utf-8\"",
    ] {
        send(&world, "/v1/intent.submit", good, body.as_bytes())
            .await
            .ok();
    }
    for bad in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/json; charset=utf-16",
        "application/cloudevents+json",
        "multipart/form-data",
    ] {
        let answer = send(&world, "/v1/intent.submit", bad, body.as_bytes()).await;
        answer.is(Code::UnsupportedMediaType);
    }
    let bearer = format!("Bearer {}", token("sam"));
    let without = [("authorization", bearer.as_str())];
    let answer = caller::post(
        world.address,
        "/v1/intent.submit",
        &without,
        body.as_bytes(),
    )
    .await;
    answer.is(Code::UnsupportedMediaType);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    let answer = caller::post(
        world.address,
        "/v1/intent.submit",
        &headers,
        body.as_bytes(),
    )
    .await;
    answer.is(Code::UnsupportedMediaType);
}

#[tokio::test]
async fn paths_and_methods_that_are_not_served() {
    let world = World::alone().await;
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/intent",
        "/v1/intent.Submit",
        "/v1/intent.submit/",
        "/v2/intent.submit",
        "/v1/controlPlane.controlPlane.intent.submit",
        "/v1/execution.lane.get",
        "/v1/intent%2Esubmit",
        "/v1/execution.get",
        "/v1/..%2f..%2fetc%2fpasswd",
        "/v1/%ff",
    ] {
        send(&world, path, "application/json", b"{}")
            .await
            .is(Code::NotFound);
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] {
        let head = format!(
            "{method} /v1/intent.submit HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
        );
        let answer = caller::raw(world.address, &head, b"").await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("POST"));
        if method != "HEAD" {
            answer.is(Code::MethodNotAllowed);
        }
    }
}

#[tokio::test]
async fn every_fault_of_an_input_is_named_at_once() {
    let world = World::alone().await;
    let input = json!({
        "text": 42,
        "actorId": "no spaces allowed",
        "deadlineAt": "soon",
        "metadata": [],
        "mode": "reckless",
        "priority": 1,
    });
    let answer = world.submit(&input).await;
    assert_eq!(
        answer.is(Code::InvalidInput).findings(),
        [
            "INVALID_VALUE /actorId",
            "INVALID_VALUE /deadlineAt",
            "WRONG_TYPE /metadata",
            "INVALID_VALUE /mode",
            "UNKNOWN_MEMBER /priority",
            "WRONG_TYPE /text",
            "MISSING_MEMBER /workspaceId",
        ]
    );
}

/// One fault each, and the place where it is.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn faults_are_found_in_every_command() {
    let world = World::alone().await;
    let id = "0198f3b1-0000-7000-8000-000000000000";
    let compile = json!({ "executionId": id, "intentId": id });
    let plan = json!({ "executionId": id, "planId": id });
    let cancel = json!({ "executionId": id, "cancelledBy": "sam" });
    let install = installation(&manifest("1.0.0"));
    let disable = json!({ "skillKey": "a", "disabledBy": "sam" });
    let activate = json!({ "bundle": bundle() });
    let table: [(&str, &Value, &str, Value, &str); 16] = [
        (
            "plan.compile",
            &compile,
            "/executionId",
            json!("0198F3B1-0000-7000-8000-000000000000"),
            "INVALID_VALUE /executionId",
        ),
        (
            "plan.compile",
            &compile,
            "/intentId",
            json!(null),
            "WRONG_TYPE /intentId",
        ),
        (
            "plan.verify",
            &plan,
            "/planId",
            json!("x"),
            "INVALID_VALUE /planId",
        ),
        (
            "execution.start",
            &plan,
            "/mode",
            json!("fast"),
            "INVALID_VALUE /mode",
        ),
        (
            "execution.cancel",
            &cancel,
            "/cancelledBy",
            json!(""),
            "INVALID_VALUE /cancelledBy",
        ),
        (
            "execution.cancel",
            &cancel,
            "/force",
            json!(true),
            "UNKNOWN_MEMBER /force",
        ),
        (
            "skill.install",
            &install,
            "/version",
            json!("one"),
            "INVALID_VALUE /version",
        ),
        (
            "skill.install",
            &install,
            "/version",
            json!("1.0.0x"),
            "INVALID_VALUE /version",
        ),
        (
            "skill.install",
            &install,
            "/manifest/extra",
            json!(1),
            "UNKNOWN_MEMBER /manifest/extra",
        ),
        (
            "skill.install",
            &install,
            "/manifest/skill/extra",
            json!(1),
            "UNKNOWN_MEMBER /manifest/skill/extra",
        ),
        (
            "skill.install",
            &install,
            "/manifest/publisher",
            json!({ "id": "x" }),
            "MISSING_MEMBER /manifest/publisher/provenance",
        ),
        (
            "skill.install",
            &install,
            "/manifest/signature/signature",
            json!(7),
            "WRONG_TYPE /manifest/signature/signature",
        ),
        (
            "skill.disable",
            &disable,
            "/skillKey",
            json!("a b"),
            "INVALID_VALUE /skillKey",
        ),
        (
            "policy.activate",
            &activate,
            "/bundle/thresholds",
            json!({ "x": "y" }),
            "WRONG_TYPE /bundle/thresholds/x",
        ),
        (
            "policy.activate",
            &activate,
            "/bundle/policy",
            json!({}),
            "UNKNOWN_MEMBER /bundle/policy",
        ),
        (
            "policy.activate",
            &activate,
            "/bundle/trust/publishers/0/keys/0/notAfter",
            json!("never"),
            "INVALID_VALUE /bundle/trust/publishers/0/keys/0/notAfter",
        ),
    ];
    for (operation, good, place, value, expected) in table {
        let mut input = good.clone();
        let (parent, name) = place.rsplit_once('/').unwrap();
        input.pointer_mut(parent).unwrap()[name] = value;
        let answer = world.ask("sam", operation, &input).await;
        assert_eq!(
            answer.is(Code::InvalidInput).findings(),
            [expected],
            "{answer:#?}"
        );
    }
}

/// What was sent is not shown back to whoever reads logs of answers, but for a short look.
#[tokio::test]
async fn findings_do_not_repeat_long_or_hidden_texts() {
    let world = World::alone().await;
    let mut input = intent(echo());
    input["actorId"] = json!(format!("{}\u{202e}\u{0}", "x ".repeat(5000)));
    let answer = world.submit(&input).await;
    answer.is(Code::InvalidInput);
    assert!(answer.body.to_string().len() < 1000, "{answer:#?}");
}

/// A body of faults is not answered by more than anyone reads.
#[tokio::test]
async fn findings_are_bounded() {
    let world = World::alone().await;
    let mut many = serde_json::Map::new();
    for number in 0..15_000 {
        many.insert(format!("m{number}"), json!(0));
    }
    let long = "x".repeat(500_000);
    let twice = format!(r#"{{"{long}":1,"{long}":1}}"#);
    for body in [
        Value::Object(many).to_string(),
        json!({ long.as_str(): 1 }).to_string(),
        twice,
    ] {
        let answer = submit(&world, &body).await;
        assert_eq!(answer.status, 400);
        let findings = answer.findings();
        assert!((1..=100).contains(&findings.len()), "{}", findings.len());
        let length = answer.body.to_string().len();
        assert!(length < 40_000, "{length}");
    }
}

#[tokio::test]
async fn a_problem_says_which_trace_and_which_execution() {
    let world = World::alone().await;
    let id = "0198f3b1-0000-7000-8000-000000000000";
    let trace = [(
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )];
    let input = json!({ "executionId": id, "cancelledBy": "sam" });
    let answer = world
        .ask_with("sam", "execution.cancel", &input, &trace)
        .await;
    answer.is(Code::ExecutionNotFound);
    assert_eq!(answer.body["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(answer.body["instance"], format!("/v1/executions/{id}"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

/// What a skill is called goes through one encoding on its way into a subject.
#[tokio::test]
async fn no_name_reaches_another_subject() {
    let world = World::alone().await;
    for key in ["acme.*", ">", "acme.orders.>", "a.b.c", "ümlaut", "%2e"] {
        let input = json!({ "skillKey": key, "disabledBy": "sam" });
        world
            .ask("sam", "skill.disable", &input)
            .await
            .is(Code::SkillNotFound);
    }
    for workspace in ["acme.execution", "*", ">", "ACME", ""] {
        let input = json!({ "workspaceId": workspace, "text": WORKSPACE });
        let answer = world.submit(&input).await;
        assert_eq!(
            answer.is(Code::InvalidInput).findings(),
            ["INVALID_VALUE /workspaceId"]
        );
    }
}

/// An object that is read member by member from an array would be another document to other readers.
#[tokio::test]
async fn an_array_is_no_object() {
    let world = World::alone().await;
    let mut asked = installation(&manifest("1.0.0"));
    asked["manifest"]["compatibility"] = json!([null, null]);
    let answer = world.ask("sam", "skill.install", &asked).await;
    answer.is(Code::InvalidInput);
    assert_eq!(
        answer.findings(),
        ["WRONG_TYPE /manifest/compatibility"],
        "{answer:#?}"
    );
}
