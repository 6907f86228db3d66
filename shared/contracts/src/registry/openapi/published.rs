//! What is served to everyone, without a credential.

use serde_json::{Map, Value, json};

use super::add_get;

pub(super) const TAG: &str = "service";

struct Published {
    path: &'static str,
    key: &'static str,
    what: &'static str,
    /// By status: what it says.
    answers: &'static [(u16, &'static str)],
}

static PUBLISHED: [Published; 5] = [
    Published {
        path: "/openapi.json",
        key: "service.openapi",
        what: "This document.",
        answers: &[(200, "`OpenAPI` 3.1.")],
    },
    Published {
        path: "/asyncapi.json",
        key: "service.asyncapi",
        what: "What is said over NATS.",
        answers: &[(200, "`AsyncAPI` 3.0.")],
    },
    Published {
        path: "/v1/capabilities",
        key: "service.capabilities",
        what: "Capabilities, operations and events of this build, with their versions.",
        answers: &[(200, "What there is.")],
    },
    Published {
        path: "/healthz",
        key: "service.health",
        what: "Whether the process runs.",
        answers: &[(200, "It does.")],
    },
    Published {
        path: "/readyz",
        key: "service.readiness",
        what: "Whether the service can do its work.",
        answers: &[
            (200, "It can."),
            (503, "It cannot, and `reasons` says why."),
        ],
    },
];

pub(super) fn add(paths: &mut Map<String, Value>) {
    for published in &PUBLISHED {
        add_get(paths, published.path, described(published));
    }
}

fn described(published: &Published) -> Value {
    let answers = published.answers.iter();
    let responses: Map<String, Value> = answers
        .map(|(status, what)| {
            let answer = json!({
                "description": what,
                "content": { "application/json": { "schema": { "type": "object" } } },
            });
            (status.to_string(), answer)
        })
        .collect();
    json!({
        "operationId": published.key,
        "tags": [TAG],
        "summary": published.key,
        "description": published.what,
        "security": [],
        "responses": responses,
    })
}
