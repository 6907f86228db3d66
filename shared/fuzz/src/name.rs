//! Identifiers, versions and instants, each read from one text.

use std::{any::type_name, fmt::Debug, str::FromStr};

use contracts::{
    canonical::Digest,
    ids::{
        ActionName, ExecutionId, Pin, PrincipalId, RunId, SkillKey, SkillVersion, StepId,
        WorkspaceId,
    },
    position::Positions,
    registry::{Grant, Role},
    time::Timestamp,
};
use domain::catalogue::EntryPoint;
use host::trace;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::Reached;

pub const PROPERTIES: &[&str] = &[
    "an execution",
    "a workspace",
    "a step",
    "a principal",
    "a skill",
    "an action",
    "a version",
    "a run",
    "a pin",
    "a digest",
    "a position",
    "an instant",
    "a grant",
    "a role",
    "an entry point",
    "a traceparent",
];

pub fn holds(bytes: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Reached::new();
    };
    let mut reached: Reached = [
        one_spelling::<ExecutionId>(text).then_some("an execution"),
        one_spelling::<WorkspaceId>(text).then_some("a workspace"),
        one_spelling::<StepId>(text).then_some("a step"),
        one_spelling::<PrincipalId>(text).then_some("a principal"),
        one_spelling::<SkillKey>(text).then_some("a skill"),
        one_spelling::<ActionName>(text).then_some("an action"),
        one_spelling::<SkillVersion>(text).then_some("a version"),
        one_spelling::<RunId>(text).then_some("a run"),
        one_spelling::<Pin>(text).then_some("a pin"),
        one_spelling::<Digest>(text).then_some("a digest"),
        one_spelling::<Positions>(text).then_some("a position"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if text.parse::<WorkspaceId>().is_ok() || text.parse::<StepId>().is_ok() {
        assert!(is_token(text), "it breaks a subject: {text:?}");
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        assert_eq!(instant.to_string().parse(), Ok(instant));
        assert!(one_spelling::<Timestamp>(&instant.to_string()));
        reached.insert("an instant");
    }
    if let Ok(grant) = text.parse::<Grant>() {
        assert_eq!(grant.as_str(), text);
        reached.insert("a grant");
    }
    if let Ok(role) = text.parse::<Role>() {
        assert_eq!(role.as_str(), text);
        reached.insert("a role");
    }
    if let Ok(point) = text.parse::<EntryPoint>() {
        assert_eq!(point.to_string(), text);
        reached.insert("an entry point");
    }
    if trace::is_well_formed(text) {
        assert!(trace::span::Context::parse(text).is_some());
        assert!(text.is_ascii() && text.len() == 55);
        reached.insert("a traceparent");
    }
    reached
}

/// What is read is written as it was, in texts and in JSON, and fits its published schema; what is
/// not read in one is not read in the other. Whether it is read.
fn one_spelling<T>(text: &str) -> bool
where
    T: FromStr + ToString + Serialize + DeserializeOwned + JsonSchema + PartialEq + Debug,
{
    let json = Value::String(text.to_owned());
    let Ok(parsed) = text.parse::<T>() else {
        assert!(serde_json::from_value::<T>(json).is_err());
        return false;
    };
    assert_eq!(parsed.to_string(), text);
    assert_eq!(serde_json::to_value(&parsed).unwrap(), json);
    assert_eq!(serde_json::from_value::<T>(json.clone()).unwrap(), parsed);
    let schema = schemars::schema_for!(T).to_value();
    let faults = domain::schema::faults(&schema, &json).unwrap();
    assert!(
        faults.is_empty(),
        "{text:?} is a {} and not by its schema: {faults:?}",
        type_name::<T>()
    );
    true
}

/// Whether it can stand in a subject as it is.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '.' | '*' | '>'))
}
