//! What is served over HTTP, as `OpenAPI` 3.1.
//!
//! Written from the registry alone, so that what is published is what is served.
//!
//! * [`cloud_events`]: intents that come as events
//! * [`feeds`]: live feeds
//! * [`published`]: what is there for everyone

mod cloud_events;
mod feeds;
mod published;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    Kind, OperationName, RESOURCES, Resource, VERSION,
    components::{Components, component, point_to_components, reference},
    examples,
};
use crate::problem::{Code, MEDIA_TYPE, Problem};

const JSON: &str = "application/json";

/// The whole document.
pub fn document() -> Value {
    let mut components = Components::default();
    components.add("Problem", schemars::schema_for!(Problem));
    let mut paths = Map::new();
    for name in OperationName::ALL {
        let input = components.add(&component(name, "Input"), name.entry().input());
        let output = components.add(&component(name, "Output"), name.entry().output());
        let mut methods = Map::from_iter([("post".to_owned(), post(name, &input, &output))]);
        if name.entry().kind == Kind::Query {
            methods.insert("get".to_owned(), get(name, &output, &[], ".query"));
        }
        paths.insert(format!("/v1/{}", name.short()), Value::Object(methods));
    }
    for resource in &RESOURCES {
        let operation = resource.operation;
        let output = reference(&component(operation, "Output"));
        let (method, described) = match operation.entry().kind {
            Kind::Query => (
                "get",
                get(operation, &output, resource.in_path(), ".resource"),
            ),
            Kind::Command => {
                let input = components.without(operation, resource.in_path());
                ("post", command(resource, &input, &output))
            }
        };
        paths.insert(resource.path.to_owned(), json!({ method: described }));
    }
    cloud_events::add(&mut paths, &mut components);
    feeds::add(&mut paths, &mut components);
    published::add(&mut paths);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Control Plane",
            "version": VERSION,
            "description": "Governed execution of what agents and people intend. Commands and \
                queries are `POST /v1/<operation>`; live feeds are server-sent events; every \
                refusal is a problem of RFC 9457 with a stable `code`.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{
            "url": "/",
            "description": "One address for commands and queries: where this document was read.",
        }],
        "security": [{ "bearer": [] }],
        "tags": tags(),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token of a principal, for one workspace.",
                },
            },
            "schemas": components.into_schemas(),
        },
    })
}

/// Beside what is described of the same path.
fn add_get(paths: &mut Map<String, Value>, path: &str, described: Value) {
    let methods = paths
        .entry(path)
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(methods) = methods {
        methods.insert("get".to_owned(), described);
    }
}

fn post(name: OperationName, input: &Value, output: &Value) -> Value {
    let example = examples::input(name);
    described(name, "", &headers(name), output, Some((input, example)))
}

/// With what stands in the path as parameters.
fn command(resource: &Resource, input: &Value, output: &Value) -> Value {
    let schema = resource.operation.entry().input().to_value();
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut parameters = headers(resource.operation);
    let mut example = examples::input(resource.operation);
    for (member, schema) in properties.into_iter().flatten() {
        if resource.in_path().contains(&member.as_str()) {
            parameters.push(json!({
                "name": member, "in": "path", "required": true, "schema": schema,
                "example": example.remove(member),
            }));
        }
    }
    described(
        resource.operation,
        ".resource",
        &parameters,
        output,
        Some((input, example)),
    )
}

fn headers(name: OperationName) -> Vec<Value> {
    let mut parameters = vec![traceparent()];
    if name == OperationName::IntentSubmit {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Sent again under the same key, a request is the same execution.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$" },
        }));
    }
    parameters
}

/// With the input's members as query parameters.
fn get(name: OperationName, output: &Value, in_path: &[&str], suffix: &str) -> Value {
    let schema = name.entry().input().to_value();
    let required = schema.get("required").and_then(Value::as_array);
    let is_required =
        |member: &str| required.is_some_and(|all| all.iter().any(|it| it.as_str() == Some(member)));
    let properties = schema.get("properties").and_then(Value::as_object);
    let example = examples::input(name);
    let mut parameters = vec![traceparent(), if_none_match()];
    for (member, schema) in properties.into_iter().flatten() {
        let mut schema = schema.clone();
        point_to_components(&mut schema);
        not_null(&mut schema);
        let in_path = in_path.contains(&member.as_str());
        let mut parameter = json!({
            "name": member,
            "in": if in_path { "path" } else { "query" },
            "required": in_path || is_required(member),
            "schema": schema,
        });
        // A document in a query string is not worth following.
        let shown = example.get(member).filter(|value| !value.is_object());
        if let (Some(shown), Some(parameter)) = (shown, parameter.as_object_mut()) {
            parameter.insert("example".to_owned(), shown.clone());
        }
        parameters.push(parameter);
    }
    let mut described = described(name, suffix, &parameters, output, None);
    if let Some(responses) = described
        .pointer_mut("/responses")
        .and_then(Value::as_object_mut)
    {
        let unchanged = "It is as the caller has it: no body.";
        responses.insert(
            "304".to_owned(),
            json!({ "description": unchanged, "headers": etag() }),
        );
    }
    described
}

fn if_none_match() -> Value {
    json!({
        "name": "If-None-Match",
        "in": "header",
        "description": "The `ETag` of an answer that the caller has: where it is still the answer, \
            304 says so.",
        "schema": { "type": "string" },
    })
}

fn etag() -> Value {
    json!({
        "ETag": {
            "description": "Of exactly these bytes.",
            "schema": { "type": "string" },
        },
    })
}

/// A member that is left out is no parameter, and no text stands for nothing.
fn not_null(schema: &mut Value) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|it| it.as_str() != Some("null"));
    }
    if let Some(Value::Array(any)) = schema.get_mut("anyOf") {
        any.retain(|it| it.get("type").and_then(Value::as_str) != Some("null"));
    }
}

fn described(
    name: OperationName,
    suffix: &str,
    parameters: &[Value],
    output: &Value,
    input: Option<(&Value, Map<String, Value>)>,
) -> Value {
    let entry = name.entry();
    let schema = entry.input().to_value();
    let text = schema.get("description").and_then(Value::as_str);
    let body = input.map(|(input, example)| {
        json!({
            "required": true,
            "content": { JSON: { "schema": input, "example": example } },
        })
    });
    let mut described = json!({
        "operationId": format!("{}{suffix}", name.short()),
        "tags": [tag(name)],
        "summary": entry.key,
        "description": text.unwrap_or(entry.key),
        "parameters": parameters,
        "responses": responses(name, output),
        "x-grant": entry.grant.as_str(),
        "x-emits": entry.emits.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    if let (Some(members), Some(body)) = (described.as_object_mut(), body) {
        members.insert("requestBody".to_owned(), body);
    }
    described
}

fn responses(name: OperationName, output: &Value) -> Value {
    let done = |description: &str| json!({ "description": description, "content": { JSON: { "schema": output } } });
    let mut answer = done("Done.");
    if let (Kind::Query, Some(members)) = (name.entry().kind, answer.as_object_mut()) {
        members.insert("headers".to_owned(), etag());
    }
    let mut responses = Map::from_iter([("200".to_owned(), answer)]);
    if name == OperationName::IntentSubmit {
        responses.insert("200".to_owned(), done("It was submitted before."));
        responses.insert("201".to_owned(), done("An execution of its own."));
    }
    responses.extend(refusals(name.entry().all_errors()));
    Value::Object(responses)
}

/// One response for each status that these codes have.
fn refusals(codes: impl Iterator<Item = Code>) -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, BTreeSet<Code>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.http()).or_default().insert(code);
    }
    let response = |codes: BTreeSet<Code>| {
        let lines: Vec<String> = codes
            .iter()
            .map(|code| format!("`{code}`: {}; {}.", code.title(), code.advice()))
            .collect();
        json!({
            "description": lines.join("\n\n"),
            "content": { MEDIA_TYPE: { "schema": reference("Problem") } },
        })
    };
    by_status
        .into_iter()
        .map(|(status, codes)| (status.to_string(), response(codes)))
        .collect()
}

fn traceparent() -> Value {
    json!({
        "name": "traceparent",
        "in": "header",
        "description": "W3C trace context: the events that follow belong to this trace.",
        "schema": { "type": "string" },
    })
}

fn tag(name: OperationName) -> &'static str {
    name.short().split('.').next().unwrap_or_default()
}

fn tags() -> Vec<Value> {
    let operations = OperationName::ALL.into_iter().map(tag);
    let tags: BTreeSet<&str> = operations.chain([feeds::TAG, published::TAG]).collect();
    tags.into_iter()
        .map(|name| json!({ "name": name }))
        .collect()
}
