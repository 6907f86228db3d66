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

pub fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    one_spelling::<ExecutionId>(text);
    one_spelling::<WorkspaceId>(text);
    one_spelling::<StepId>(text);
    one_spelling::<PrincipalId>(text);
    one_spelling::<SkillKey>(text);
    one_spelling::<ActionName>(text);
    one_spelling::<SkillVersion>(text);
    one_spelling::<RunId>(text);
    one_spelling::<Pin>(text);
    one_spelling::<Digest>(text);
    one_spelling::<Positions>(text);
    if text.parse::<WorkspaceId>().is_ok() || text.parse::<StepId>().is_ok() {
        assert!(is_token(text), "it breaks a subject: {text:?}");
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        assert_eq!(instant.to_string().parse(), Ok(instant));
        one_spelling::<Timestamp>(&instant.to_string());
    }
    if let Ok(grant) = text.parse::<Grant>() {
        assert_eq!(grant.as_str(), text);
    }
    if let Ok(role) = text.parse::<Role>() {
        assert_eq!(role.as_str(), text);
    }
    if let Ok(point) = text.parse::<EntryPoint>() {
        assert_eq!(point.to_string(), text);
    }
    if trace::is_well_formed(text) {
        assert!(trace::span::Context::parse(text).is_some());
        assert!(text.is_ascii() && text.len() == 55);
    }
}

/// What is read is written as it was, in texts and in JSON, and fits its published schema; what is
/// not read in one is not read in the other.
fn one_spelling<T>(text: &str)
where
    T: FromStr + ToString + Serialize + DeserializeOwned + JsonSchema + PartialEq + Debug,
{
    let json = Value::String(text.to_owned());
    let Ok(parsed) = text.parse::<T>() else {
        assert!(serde_json::from_value::<T>(json).is_err());
        return;
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
}

/// Whether it can stand in a subject as it is.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '.' | '*' | '>'))
}
