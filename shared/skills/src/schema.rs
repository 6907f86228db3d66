//! Compiling the JSON Schemas of actions and playbooks.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSchema(String);

/// Compiles a schema that needs nothing but itself: references to other documents are refused, so
/// that what a skill means never depends on the network. Patterns run in linear time, because a
/// publisher writes them and callers choose what they are matched with; look-around and back
/// references are therefore refused.
pub fn compile(schema: &Value) -> Result<Validator, InvalidSchema> {
    if !matches!(schema, Value::Object(_) | Value::Bool(_)) {
        return Err(InvalidSchema("a JSON Schema is an object".to_owned()));
    }
    jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|error| InvalidSchema(error.to_string().chars().take(300).collect()))
}
