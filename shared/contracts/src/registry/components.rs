//! The schemas of a description, by name.

use std::collections::BTreeMap;

use schemars::Schema;
use serde_json::{Value, json};

use super::OperationName;

const DEFINITIONS: &str = "#/$defs/";
const COMPONENTS: &str = "#/components/schemas/";

/// Schemas by name. What they share is one component.
#[derive(Default)]
pub(super) struct Components(BTreeMap<String, Value>);

impl Components {
    /// A reference to the schema, whose definitions become components too.
    pub fn add(&mut self, name: &str, schema: Schema) -> Value {
        let schema = self.inline(schema);
        self.0.insert(name.to_owned(), schema);
        reference(name)
    }

    /// The schema itself; its definitions become components.
    pub fn inline(&mut self, schema: Schema) -> Value {
        let mut schema = schema.to_value();
        if let Value::Object(members) = &mut schema {
            for beside in ["$id", "$schema", "title"] {
                members.remove(beside);
            }
            if let Some(Value::Object(definitions)) = members.remove("$defs") {
                for (name, mut definition) in definitions {
                    point_to_components(&mut definition);
                    self.0.insert(name, definition);
                }
            }
        }
        point_to_components(&mut schema);
        schema
    }

    pub fn define(&mut self, name: &str, schema: Value) {
        self.0.insert(name.to_owned(), schema);
    }

    /// All of them, by name.
    pub fn into_schemas(self) -> BTreeMap<String, Value> {
        self.0
    }

    /// The input of an operation without the members that stand in the path.
    pub fn without(&mut self, operation: OperationName, in_path: &[&str]) -> Value {
        let name = component(operation, "Input");
        if in_path.is_empty() {
            return reference(&name);
        }
        let mut schema = self.0.get(&name).cloned().unwrap_or_default();
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.retain(|member, _| !in_path.contains(&member.as_str()));
        }
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|it| it.as_str().is_none_or(|it| !in_path.contains(&it)));
        }
        let name = component(operation, "Body");
        self.0.insert(name.clone(), schema);
        reference(&name)
    }
}

pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{COMPONENTS}{name}") })
}

pub(super) fn point_to_components(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let definition = member
                    .as_str()
                    .filter(|_| name == "$ref")
                    .and_then(|text| text.strip_prefix(DEFINITIONS));
                match definition {
                    Some(definition) => *member = format!("{COMPONENTS}{definition}").into(),
                    None => point_to_components(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(point_to_components),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `IntentSubmitInput`.
pub(super) fn component(operation: OperationName, side: &str) -> String {
    camel(operation.short()) + side
}

/// `IntentSubmit` of `intent.submit`.
pub(super) fn camel(dotted: &str) -> String {
    let mut name = String::new();
    for part in dotted.split('.') {
        let mut letters = part.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.extend(letters);
    }
    name
}
