//! What is served beside operations and feeds.

use serde_json::{Map, Value, json};

use super::{add_get, refusals};
use crate::problem::Code;

pub(super) const TAG: &str = "service";

struct Published {
    path: &'static str,
    key: &'static str,
    what: &'static str,
    /// Whether a credential is asked for.
    closed: bool,
    /// By status: what it says.
    answers: &'static [(u16, &'static str)],
}

/// Where a credential is asked for.
const CLOSED_ERRORS: [Code; 3] = [
    Code::Unauthenticated,
    Code::MethodNotAllowed,
    Code::RateLimited,
];

static PUBLISHED: [Published; 6] = [
    Published {
        path: "/openapi.json",
        key: "service.openapi",
        what: "This document.",
        closed: false,
        answers: &[(200, "`OpenAPI` 3.1.")],
    },
    Published {
        path: "/asyncapi.json",
        key: "service.asyncapi",
        what: "What is said over NATS.",
        closed: false,
        answers: &[(200, "`AsyncAPI` 3.0.")],
    },
    Published {
        path: "/v1/capabilities",
        key: "service.capabilities",
        what: "Capabilities, operations and events of this build, with their versions.",
        closed: false,
        answers: &[(200, "What there is.")],
    },
    Published {
        path: "/v1/me",
        key: "service.me",
        what: "Who the credential says that one is: `id`, `type`, `workspace` and `grants`.",
        closed: true,
        answers: &[(200, "The principal.")],
    },
    Published {
        path: "/healthz",
        key: "service.health",
        what: "Whether the process runs.",
        closed: false,
        answers: &[(200, "It does.")],
    },
    Published {
        path: "/readyz",
        key: "service.readiness",
        what: "Whether the service can do its work.",
        closed: false,
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
    let mut responses: Map<String, Value> = answers
        .map(|(status, what)| {
            let answer = json!({
                "description": what,
                "content": { "application/json": { "schema": { "type": "object" } } },
            });
            (status.to_string(), answer)
        })
        .collect();
    let mut described = json!({
        "operationId": published.key,
        "tags": [TAG],
        "summary": published.key,
        "description": published.what,
    });
    if let Some(members) = described.as_object_mut() {
        if published.closed {
            responses.extend(refusals(CLOSED_ERRORS.into_iter()));
        } else {
            members.insert("security".to_owned(), json!([]));
        }
        members.insert("responses".to_owned(), responses.into());
    }
    described
}
