//! The bytes of a manifest that are signed: its JSON without `signature`, without white space,
//! members in the order in which JavaScript's `JSON.stringify` writes an object whose keys were
//! inserted in the order of `localeCompare`.

mod order;

use contracts::{
    canonical::{Digest, ecmascript},
    manifest::SkillManifest,
};
use serde_json::{Map, Number, Value};

pub use order::{Unsettled, compare};

/// A manifest that other readers could understand otherwise, so that nothing is signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCanonicalForm {
    #[error("the keys {left:?} and {right:?} in `{path}` {unsettled}; rename one of them")]
    Keys {
        path: String,
        left: String,
        right: String,
        unsettled: Unsettled,
    },
    #[error("`{path}`: {number} cannot be represented exactly; write it as a string")]
    Number { path: String, number: String },
}

/// What a publisher signs.
pub fn canonical_bytes(manifest: &SkillManifest) -> Result<Vec<u8>, NoCanonicalForm> {
    let unsigned = SkillManifest {
        signature: None,
        ..manifest.clone()
    };
    let value = serde_json::to_value(unsigned).map_err(|error| NoCanonicalForm::Number {
        path: String::new(),
        number: error.to_string(),
    })?;
    json_bytes(&value)
}

/// SHA-256 of [`canonical_bytes`]: the digest in a plan's pins.
pub fn digest(manifest: &SkillManifest) -> Result<Digest, NoCanonicalForm> {
    Ok(Digest::of(&canonical_bytes(manifest)?))
}

/// The canonical form of any JSON value.
pub fn json_bytes(value: &Value) -> Result<Vec<u8>, NoCanonicalForm> {
    let mut out = String::with_capacity(1024);
    write(value, &mut String::new(), &mut out)?;
    Ok(out.into_bytes())
}

fn write(value: &Value, path: &mut String, out: &mut String) -> Result<(), NoCanonicalForm> {
    match value {
        Value::Object(members) => return write_object(members, path, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                within(path, &index.to_string(), |path| write(item, path, out))?;
            }
            out.push(']');
        }
        Value::Number(number) => {
            let text = number_text(number).ok_or_else(|| NoCanonicalForm::Number {
                path: path.clone(),
                number: number.to_string(),
            })?;
            out.push_str(&text);
        }
        // serde_json escapes what `JSON.stringify` escapes, in the same spelling.
        Value::Null | Value::Bool(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
    Ok(())
}

fn write_object(
    members: &Map<String, Value>,
    path: &mut String,
    out: &mut String,
) -> Result<(), NoCanonicalForm> {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|(left, _), (right, _)| order::total(left, right));
    // What stands between two keys of unsettled order is of unsettled order with one of them.
    for ((left, _), (right, _)) in sorted.iter().zip(sorted.iter().skip(1)) {
        compare(left, right).map_err(|unsettled| NoCanonicalForm::Keys {
            path: path.clone(),
            left: (*left).clone(),
            right: (*right).clone(),
            unsettled,
        })?;
    }
    out.push('{');
    for (index, (key, item)) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(&Value::String(key.clone()), path, out)?;
        out.push(':');
        within(path, key, |path| write(item, path, out))?;
    }
    out.push('}');
    Ok(())
}

fn within<T>(path: &mut String, token: &str, then: impl FnOnce(&mut String) -> T) -> T {
    let length = path.len();
    path.push('/');
    path.push_str(&token.replace('~', "~0").replace('/', "~1"));
    let result = then(path);
    path.truncate(length);
    result
}

/// As JavaScript writes it. An integer that JavaScript would round to another is refused: what it
/// signs is not what others read.
fn number_text(number: &Number) -> Option<String> {
    let text = ecmascript(number.as_f64().filter(|float| float.is_finite())?);
    let is_integer = number.is_i64() || number.is_u64();
    (!is_integer || text == number.to_string()).then_some(text)
}
