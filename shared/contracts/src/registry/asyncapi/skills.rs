//! Calls of skills: the executor asks, a worker answers.

use serde_json::{Value, json};

use super::{
    Header, JSON, Parts, REPLY_TO, always, headers, messages_of, of, security, tagged, traceparent,
};
use crate::{
    canonical::Digest,
    ids::{ActionName, ExecutionId, RunId, SkillKey, SkillVersion, StepId, WorkspaceId},
    registry::components::reference,
    subject::SKILL_ROOT,
    time::Timestamp,
};

pub(super) const TAG: (&str, &str) = (
    "skill",
    "Calls of skills. A worker in any language answers each with one of four messages. A key that \
     comes again is the same effect: it is answered from memory with an earlier success, never with \
     an earlier failure.",
);

const NAME: &str = "skill.call";
const ANSWERS: &str = "skill.answer";

const WHAT: &str = "One attempt of a step, for whoever serves the entry point `nats:<name>` of the \
    workspace; workers of one queue group share the calls.";

const INBOX: &str = "The inbox of the executor, below `_INBOX_executor.`: a worker takes no call that \
    wants its answer elsewhere.";

/// The queue group of the worker kit.
const QUEUE: &str = "worker";

struct Answer {
    name: &'static str,
    component: &'static str,
    member: &'static str,
    what: &'static str,
    schema: fn() -> Value,
}

static ANSWERED: [Answer; 4] = [
    Answer {
        name: "skill.answer.output",
        component: "SkillOutput",
        member: "output",
        what: "The effect is done. Its output is what the action declares.",
        schema: || json!({}),
    },
    Answer {
        name: "skill.answer.error",
        component: "SkillError",
        member: "error",
        what: "The effect did not happen.",
        schema: error,
    },
    Answer {
        name: "skill.answer.inProgress",
        component: "SkillInProgress",
        member: "inProgress",
        what: "Another call under this key is still being worked on: it is asked again, which is \
            no try.",
        schema: || json!({ "const": true }),
    },
    Answer {
        name: "skill.answer.accepted",
        component: "SkillAccepted",
        member: "accepted",
        what: "It will be reported by `controlPlane.execution.step.report`, with the token of the \
            call.",
        schema: accepted,
    },
];

pub(super) fn add(parts: &mut Parts) {
    parts.schemas.define("SkillCall", call());
    parts.message(
        NAME,
        json!({
            "name": NAME,
            "title": "A call of a skill",
            "description": WHAT,
            "contentType": JSON,
            "headers": headers(call_headers()),
            "payload": reference("SkillCall"),
        }),
    );
    for answer in &ANSWERED {
        parts.schemas.define(answer.component, answer.payload());
        parts.message(
            answer.name,
            json!({
                "name": answer.name,
                "title": format!("The answer `{}`", answer.member),
                "description": answer.what,
                "contentType": JSON,
                "payload": reference(answer.component),
            }),
        );
    }
    let address = format!("{SKILL_ROOT}.{{workspace}}.{{name}}");
    let answers = ANSWERED.each_ref().map(|answer| answer.name);
    parts.channel(NAME, Some(&address), WHAT, [NAME]);
    parts.channel(ANSWERS, None, INBOX, answers);
    parts.operation(
        NAME,
        json!({
            "action": "receive",
            "channel": super::reference(&["channels", NAME]),
            "messages": messages_of(NAME, &[NAME]),
            "reply": {
                "address": { "location": REPLY_TO, "description": INBOX },
                "channel": super::reference(&["channels", ANSWERS]),
                "messages": messages_of(ANSWERS, &answers),
            },
            "summary": "A call of a skill",
            "description": WHAT,
            "security": security("worker"),
            "tags": tagged(TAG),
            "bindings": { "nats": { "queue": QUEUE, "bindingVersion": "0.1.0" } },
        }),
    );
}

impl Answer {
    /// An object with this member and no other.
    fn payload(&self) -> Value {
        json!({
            "description": self.what,
            "type": "object",
            "properties": { self.member: (self.schema)() },
            "required": [self.member],
            "additionalProperties": false,
        })
    }
}

fn call() -> Value {
    let said = |mut schema: Value, what: &str| {
        if let Some(members) = schema.as_object_mut() {
            members.insert("description".to_owned(), what.into());
        }
        schema
    };
    let attempt = json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX });
    let properties = json!({
        "workspace": of::<WorkspaceId>(),
        "executionId": of::<ExecutionId>(),
        "runId": of::<RunId>(),
        "stepId": of::<StepId>(),
        "skill": said(of::<SkillKey>(), "The key of the skill."),
        "version": said(of::<SkillVersion>(), "Of the skill."),
        "action": of::<ActionName>(),
        "attempt": said(attempt, "Counts from 1, on across runs."),
        "idempotencyKey": said(of::<Digest>(), "The same for every attempt of one effect."),
        "deadline": said(of::<Timestamp>(), "When the caller stops waiting."),
        "inputs": { "description": "As the action declares them." },
    });
    let required: Vec<&String> = properties
        .as_object()
        .into_iter()
        .flat_map(|it| it.keys())
        .collect();
    json!({
        "description": WHAT,
        "type": "object",
        "required": required,
        "properties": properties,
    })
}

fn call_headers() -> Vec<Header> {
    let count = json!({ "type": "string", "pattern": "^[1-9][0-9]*$" });
    vec![
        always("Idempotency-Key", of::<Digest>(), "As in the call."),
        always("Cp-Attempt", count, "As in the call."),
        always("Cp-Execution", of::<ExecutionId>(), "As in the call."),
        always("Cp-Step", of::<StepId>(), "As in the call."),
        always(
            "Cp-Token",
            of::<Digest>(),
            "The completion token: whoever holds it may report this step, and nothing else.",
        ),
        traceparent(),
    ]
}

fn error() -> Value {
    json!({
        "type": "object",
        "properties": {
            "code": {
                "description": "Stable, such as `CARD_DECLINED`. The first 64 characters are kept.",
                "type": "string",
            },
            "message": {
                "description": "For people. The first 1000 characters are kept.",
                "type": ["string", "null"],
            },
            "retryable": {
                "description": "Whether the same call may succeed later.",
                "type": "boolean",
                "default": false,
            },
        },
        "required": ["code"],
    })
}

fn accepted() -> Value {
    json!({
        "type": "object",
        "properties": {
            "expiresAfterMs": {
                "description": "How long it may take, in milliseconds: a day where it is left out, \
                    and thirty days at most.",
                "type": ["integer", "null"],
                "minimum": 0,
            },
        },
    })
}
