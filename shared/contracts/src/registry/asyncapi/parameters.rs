//! The tokens of subjects that differ, each with what it may be as `x-schema`.

use serde_json::{Map, Value, json};

use super::of;
use crate::{
    event::EventName,
    ids::{ExecutionId, WorkspaceId},
    subject::AggregateKind,
};

/// What stands for any text in a subject.
const ENCODED: &str = "^([A-Za-z0-9_-]|=[0-9A-F]{2})+$";

pub(super) fn all() -> Map<String, Value> {
    let mut all = Map::new();
    let mut add = |name: &str, schema: Value, example: &str, what: &str| {
        let parameter = json!({
            "description": what,
            "examples": [example],
            "x-schema": schema,
        });
        all.insert(name.to_owned(), parameter);
    };
    let matching = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    add("workspace", of::<WorkspaceId>(), "demo", "The workspace.");
    add(
        "principal",
        matching(ENCODED),
        "maria=40example=2Ecom",
        "Who asks: its id, with `=` and two upper-case hexadecimal digits for each byte that is \
         not a letter, a digit, `_` or `-`.",
    );
    add(
        "shard",
        matching("^[0-3][0-9a-f]$"),
        "2a",
        "The first six bits of the SHA-256 of the aggregate's id, before it is encoded.",
    );
    add(
        "executionId",
        of::<ExecutionId>(),
        "0198f3a2-7c1e-7d30-9a53-0c5b6f1d2e84",
        "The execution.",
    );
    add(
        "id",
        matching(ENCODED),
        "core=2Eecho",
        "The id of the aggregate, such as the key of a skill, encoded as a principal is. An \
         incident about an execution has its id.",
    );
    add(
        "version",
        matching("^[1-9][0-9]*$"),
        "4",
        "Which event of its aggregate it is, from 1 on.",
    );
    add(
        "name",
        json!({ "type": "string", "maxLength": 128, "pattern": "^[a-z0-9_-]+$" }),
        "orders",
        "The entry point of the skill, `nats:<name>`.",
    );
    let closed = |names: Vec<&str>, what: &str| json!({ "description": what, "enum": names });
    all.insert(
        "aggregate".to_owned(),
        closed(
            AggregateKind::ALL.map(AggregateKind::as_str).into(),
            "The kind of aggregate.",
        ),
    );
    all.insert(
        "event".to_owned(),
        closed(
            EventName::ALL.map(EventName::as_str).into(),
            "The name of the event: the last tokens of the subject.",
        ),
    );
    all
}
