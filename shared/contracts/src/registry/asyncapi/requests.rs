//! Operations: a request to the principal's own subject, and the answer to its inbox.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    Header, JSON, Parts, REPLY_TO, always, description, exactly, headers, messages_of, security,
    sometimes, tagged, text, traceparent,
};
use crate::{
    problem::{Code, MEDIA_TYPE, Problem},
    registry::{Kind, OperationName, components::component},
    subject::API_ROOT,
};

pub(super) const TAG: (&str, &str) = (
    "operation",
    "Commands and queries: the same handlers, limits and answers as over HTTP. The subject says who \
     asks, and the broker lets nobody else publish there.",
);

/// Where answers go, by its name in the document.
const ANSWERS: &str = "answer";

/// Every refusal of every operation.
const REFUSAL: &str = "refusal";

const INBOX: &str = "The inbox of the asker, below `_INBOX.`, in the broker account that it has for \
    itself: an answer goes nowhere else.";

pub(super) fn add(parts: &mut Parts) {
    let problem = parts.schemas.add("Problem", schemars::schema_for!(Problem));
    parts.message(
        REFUSAL,
        json!({
            "name": REFUSAL,
            "title": "A problem of RFC 9457",
            "description": "What was asked was not carried out. `code` is stable and says why.",
            "contentType": MEDIA_TYPE,
            "headers": headers(refusal_headers()),
            "payload": problem,
        }),
    );
    for operation in OperationName::ALL {
        one(parts, operation);
    }
    let answers = OperationName::ALL.map(answer);
    let answers = answers.iter().map(String::as_str).chain([REFUSAL]);
    parts.channel(ANSWERS, None, INBOX, answers);
}

/// `operation.intent.submit`, as a channel and an operation.
fn named(operation: OperationName) -> String {
    format!("operation.{}", operation.short())
}

fn request(operation: OperationName) -> String {
    format!("request.{}", operation.short())
}

fn answer(operation: OperationName) -> String {
    format!("answer.{}", operation.short())
}

fn one(parts: &mut Parts, operation: OperationName) {
    let entry = operation.entry();
    let (name, request, answer) = (named(operation), request(operation), answer(operation));
    let input = entry.input();
    let what = description(&input).unwrap_or(entry.key).to_owned();
    let input = parts.schemas.add(&component(operation, "Input"), input);
    let output = parts
        .schemas
        .add(&component(operation, "Output"), entry.output());
    parts.message(
        &request,
        json!({
            "name": request,
            "title": entry.key,
            "description": what,
            "contentType": JSON,
            "headers": headers(request_headers(operation)),
            "payload": input,
        }),
    );
    parts.message(
        &answer,
        json!({
            "name": answer,
            "title": format!("What {} answers", entry.key),
            "contentType": JSON,
            "headers": headers(answer_headers(operation)),
            "payload": output,
        }),
    );
    let address = format!(
        "{API_ROOT}.{{workspace}}.{{principal}}.{}",
        operation.short()
    );
    parts.channel(&name, Some(&address), &what, [request.as_str()]);
    parts.operation(
        &name,
        json!({
            "action": "send",
            "channel": super::reference(&["channels", &name]),
            "messages": messages_of(&name, &[&request]),
            "reply": {
                "address": { "location": REPLY_TO, "description": INBOX },
                "channel": super::reference(&["channels", ANSWERS]),
                "messages": messages_of(ANSWERS, &[&answer, REFUSAL]),
            },
            "summary": entry.key,
            "description": what,
            "security": security("principal"),
            "tags": tagged(TAG),
            "x-kind": entry.kind.as_str(),
            "x-grant": entry.grant.as_str(),
            "x-emits": entry.emits.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "x-errors": errors(operation).iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
    );
}

/// A subject has no methods that it could refuse.
fn errors(operation: OperationName) -> BTreeSet<Code> {
    let errors = operation.entry().all_errors();
    errors
        .filter(|code| *code != Code::MethodNotAllowed)
        .collect()
}

fn request_headers(operation: OperationName) -> Vec<Header> {
    let mut headers = vec![
        sometimes(
            "Content-Type",
            exactly(JSON),
            "What is sent is JSON in any case.",
        ),
        traceparent(),
    ];
    if operation == OperationName::IntentSubmit {
        headers.push(sometimes(
            "Idempotency-Key",
            json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$" }),
            "Sent again under the same key, a request is the same execution.",
        ));
    }
    headers
}

fn answer_headers(operation: OperationName) -> Vec<Header> {
    let is_submit = operation == OperationName::IntentSubmit;
    let (statuses, what): (&[&str], _) = if is_submit {
        (
            &["200", "201"],
            "As over HTTP: 201 for an execution of its own, 200 where it was submitted before.",
        )
    } else {
        (&["200"], "As over HTTP: it was done.")
    };
    let mut headers = vec![
        always(
            "Cp-Status",
            json!({ "type": "string", "enum": statuses }),
            what,
        ),
        always("content-type", exactly(JSON), "Of the answer."),
    ];
    if is_submit {
        headers.push(always(
            "location",
            text(),
            "The path of the execution over HTTP.",
        ));
    }
    if operation.entry().kind == Kind::Query {
        headers.push(always("etag", text(), "Of exactly these bytes."));
    }
    headers
}

fn refusal_headers() -> Vec<Header> {
    let codes = OperationName::ALL.into_iter();
    let statuses: BTreeSet<String> = codes
        .flat_map(errors)
        .map(|code| code.http().to_string())
        .collect();
    let status = json!({ "type": "string", "enum": statuses });
    vec![
        always("Cp-Status", status.clone(), "As over HTTP."),
        always("content-type", exactly(MEDIA_TYPE), "Of the problem."),
        always(
            "Nats-Service-Error",
            text(),
            "The code and the title, in one line.",
        ),
        always("Nats-Service-Error-Code", status, "The status once more."),
        sometimes(
            "retry-after",
            json!({ "type": "string", "pattern": "^[0-9]+$" }),
            "In how many seconds to ask again.",
        ),
    ]
}
