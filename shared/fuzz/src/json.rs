//! Bodies: JSON within its bounds, and its canonical forms.

use contracts::canonical;
use host::http::body::{self, DEPTH_MAX, VALUES_MAX};
use serde_json::Value;

use crate::Reached;

pub const PROPERTIES: &[&str] = &["a body", "its canonical form", "what is signed of it"];

pub fn holds(bytes: &[u8]) -> Reached {
    let Ok(members) = body::parse(bytes) else {
        return Reached::new();
    };
    let value = Value::Object(members);
    let (depth, values) = measured(&value);
    assert!(depth <= DEPTH_MAX, "{depth} deep");
    assert!(values <= VALUES_MAX, "{values} values");
    let written = serde_json::to_vec(&value).unwrap();
    assert_eq!(
        body::parse(&written).map(Value::Object).unwrap(),
        value,
        "written again it is another"
    );
    let mut reached = Reached::from(["a body"]);
    if let Ok(canonical) = canonical::to_bytes(&value) {
        let again = body::parse(&canonical).expect("a canonical form is a body");
        assert_eq!(canonical::to_bytes(&again).as_ref(), Ok(&canonical));
        reached.insert("its canonical form");
    }
    if let Ok(signed) = skills::canonical::json_bytes(&value) {
        let again = body::parse(&signed).map(Value::Object).unwrap();
        assert_eq!(skills::canonical::json_bytes(&again).as_ref(), Ok(&signed));
        reached.insert("what is signed of it");
    }
    reached
}

/// How deep it is, and how many values it holds.
fn measured(value: &Value) -> (usize, usize) {
    let inner: Vec<_> = match value {
        Value::Object(members) => members.values().map(measured).collect(),
        Value::Array(items) => items.iter().map(measured).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return (0, 1),
    };
    let deepest = inner.iter().map(|(depth, _)| *depth).max().unwrap_or(0);
    (
        deepest + 1,
        inner.iter().map(|(_, values)| values).sum::<usize>() + 1,
    )
}
