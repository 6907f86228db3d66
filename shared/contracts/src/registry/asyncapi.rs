//! What is said over NATS, as `AsyncAPI` 3.0.
//!
//! Written from the registry, as [`super::openapi`] is, with the same schemas under the same names.
//! It is told from the side of whoever talks to the control plane: `send` is what a caller
//! publishes, `receive` what comes to a subscriber or a worker.
//!
//! * [`events`]: what happened, stored and published again
//! * [`requests`]: operations, as request and reply
//! * [`inbox`]: intents that wait on the broker
//! * [`skills`]: calls of skills, and what workers answer
//! * [`parameters`]: what the tokens of a subject are

mod events;
mod inbox;
mod parameters;
mod requests;
mod skills;

use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::{VERSION, components::Components};

const JSON: &str = "application/json";

/// A subject that only the asker knows stands beside a message, as NATS has it, and not among its
/// headers; a document has no other word for it.
const REPLY_TO: &str = "$message.header#/reply";

/// The whole document.
pub fn document() -> Value {
    let mut parts = Parts::default();
    events::add(&mut parts);
    requests::add(&mut parts);
    inbox::add(&mut parts);
    skills::add(&mut parts);
    let mut schemas: Map<String, Value> = parts.schemas.into_schemas().into_iter().collect();
    schemas.values_mut().for_each(free_references);
    json!({
        "asyncapi": "3.0.0",
        "id": "urn:control-plane:nats",
        "info": {
            "title": "Control Plane",
            "version": VERSION,
            "description": "Governed execution of what agents and people intend, over NATS: \
                operations as request and reply, intents that wait on the broker, what happened as \
                it happens, and the calls that workers answer. It is told from the side of whoever \
                talks to the control plane. No subject holds what was sent unencoded, and no user \
                of the broker may publish in the name of another.",
            "license": {
                "name": "Apache-2.0",
                "url": "https://www.apache.org/licenses/LICENSE-2.0",
            },
            "tags": tags(),
        },
        "defaultContentType": JSON,
        "servers": { "broker": server() },
        "channels": parts.channels,
        "operations": parts.operations,
        "components": {
            "schemas": schemas,
            "messages": parts.messages,
            "parameters": parameters::all(),
            "securitySchemes": security_schemes(),
        },
    })
}

fn server() -> Value {
    let users = ["principal", "eventsReader", "worker"];
    json!({
        "host": "{address}",
        "protocol": "nats",
        "description": "The broker of the log. It asks every user for a password; where it asks \
            nobody, operations and the inbox are not served.",
        "variables": {
            "address": {
                "default": "localhost:4222",
                "description": "Host and port; `controlplane up` writes them down.",
            },
        },
        "security": users.map(|user| reference(&["components", "securitySchemes", user])),
    })
}

fn security_schemes() -> Value {
    let user = |what: &str| json!({ "type": "userPassword", "description": what });
    json!({
        "principal": user(
            "The user `<workspace>.<principal>`, in an account of its own: it publishes below its own \
             `cp.api` subject and on its own `cp.inbox` subject, and hears its own answers, below \
             `_INBOX.`",
        ),
        "eventsReader": user(
            "The user `events-reader`: it hears what is published again, of one workspace or of \
             all, and can do nothing else.",
        ),
        "worker": user("A worker's user: it hears the calls of its skills and answers them."),
    })
}

fn tags() -> Vec<Value> {
    let tags = [events::TAG, requests::TAG, inbox::TAG, skills::TAG];
    tags.map(|(name, what)| json!({ "name": name, "description": what }))
        .into()
}

fn tagged((name, _): (&str, &str)) -> Value {
    json!([{ "name": name }])
}

/// Parts of the document, by name.
#[derive(Default)]
struct Parts {
    schemas: Components,
    channels: Map<String, Value>,
    operations: Map<String, Value>,
    messages: Map<String, Value>,
}

impl Parts {
    fn message(&mut self, name: &str, message: Value) {
        self.messages.insert(name.to_owned(), message);
    }

    /// A channel at this address, whose tokens in braces are parameters. An address that only the
    /// asker knows is none.
    fn channel<'a>(
        &mut self,
        name: &str,
        address: Option<&str>,
        what: &str,
        messages: impl IntoIterator<Item = &'a str>,
    ) {
        let messages = messages.into_iter();
        let messages: Map<String, Value> = messages
            .map(|it| (it.to_owned(), reference(&["components", "messages", it])))
            .collect();
        let mut channel = json!({
            "address": address,
            "description": what,
            "servers": [reference(&["servers", "broker"])],
            "messages": messages,
        });
        let tokens = address.into_iter().flat_map(|it| it.split('.'));
        let parameters: Map<String, Value> = tokens
            .filter_map(|token| token.strip_prefix('{')?.strip_suffix('}'))
            .map(|it| (it.to_owned(), reference(&["components", "parameters", it])))
            .collect();
        if let (false, Some(members)) = (parameters.is_empty(), channel.as_object_mut()) {
            members.insert("parameters".to_owned(), parameters.into());
        }
        self.channels.insert(name.to_owned(), channel);
    }

    fn operation(&mut self, name: &str, operation: Value) {
        self.operations.insert(name.to_owned(), operation);
    }
}

fn reference(path: &[&str]) -> Value {
    json!({ "$ref": format!("#/{}", path.join("/")) })
}

/// The messages of a channel that an operation has.
fn messages_of(channel: &str, names: &[&str]) -> Value {
    let messages = names.iter();
    messages
        .map(|name| reference(&["channels", channel, "messages", name]))
        .collect()
}

fn security(user: &str) -> Value {
    json!([reference(&["components", "securitySchemes", user])])
}

/// One header: its name, its schema, and what it says.
struct Header {
    name: String,
    is_required: bool,
    schema: Value,
    what: &'static str,
}

/// Always there.
fn always(name: impl Into<String>, schema: Value, what: &'static str) -> Header {
    Header {
        is_required: true,
        ..sometimes(name, schema, what)
    }
}

fn sometimes(name: impl Into<String>, schema: Value, what: &'static str) -> Header {
    Header {
        name: name.into(),
        is_required: false,
        schema,
        what,
    }
}

fn traceparent() -> Header {
    sometimes(
        "traceparent",
        text(),
        "W3C trace context: what follows belongs to this trace.",
    )
}

/// The schema of a message's headers.
fn headers(headers: impl IntoIterator<Item = Header>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for header in headers {
        if header.is_required {
            required.push(header.name.clone());
        }
        let mut schema = header.schema;
        if let Some(members) = schema.as_object_mut() {
            members.insert("description".to_owned(), header.what.into());
        }
        properties.insert(header.name, schema);
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn exactly(text: &str) -> Value {
    json!({ "type": "string", "const": text })
}

/// The schema of an identifier or another text.
fn of<T: JsonSchema>() -> Value {
    Components::default().inline(schemars::schema_for!(T))
}

fn description(schema: &Schema) -> Option<&str> {
    schema.get("description").and_then(Value::as_str)
}

/// A reference of `AsyncAPI` stands alone: what is said beside it would be lost.
fn free_references(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members.len() > 1
                && let Some(reference) = members.remove("$ref")
            {
                members.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
            }
            members.values_mut().for_each(free_references);
        }
        Value::Array(items) => items.iter_mut().for_each(free_references),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
