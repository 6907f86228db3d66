//! The bytes of a manifest that are signed: its JSON without `signature`, without white space,
//! members in the order in which JavaScript's `JSON.stringify` writes an object whose keys were
//! inserted in the order of `localeCompare`.

use std::cmp::Ordering;

use contracts::{
    canonical::{self, Digest},
    manifest::SkillManifest,
};
use serde_json::{Map, Value};

/// A manifest that other readers could understand otherwise, so that nothing is signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCanonicalForm {
    /// Beyond ASCII the order of keys depends on the Unicode version of whoever sorts.
    #[error("the key {key:?} in `{path}` is not of printable ASCII characters")]
    Key { path: String, key: String },
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
    let mut out = Vec::with_capacity(1024);
    write(value, &mut String::new(), &mut out)?;
    Ok(out)
}

fn write(value: &Value, path: &mut String, out: &mut Vec<u8>) -> Result<(), NoCanonicalForm> {
    match value {
        Value::Object(members) => write_object(members, path, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                within(path, &index.to_string(), |path| write(item, path, out))?;
            }
            out.push(b']');
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            // For scalars RFC 8785 is `JSON.stringify`.
            let bytes = canonical::to_bytes(value).map_err(|error| NoCanonicalForm::Number {
                path: path.clone(),
                number: error.number,
            })?;
            out.extend_from_slice(&bytes);
            Ok(())
        }
    }
}

fn write_object(
    members: &Map<String, Value>,
    path: &mut String,
    out: &mut Vec<u8>,
) -> Result<(), NoCanonicalForm> {
    if let Some(key) = members.keys().find(|key| !is_printable_ascii(key)) {
        return Err(NoCanonicalForm::Key {
            path: path.clone(),
            key: key.clone(),
        });
    }
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|(left, _), (right, _)| member_order(left, right));
    out.push(b'{');
    for (index, (key, item)) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(&Value::String(key.clone()), path, out)?;
        out.push(b':');
        within(path, key, |path| write(item, path, out))?;
    }
    out.push(b'}');
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

fn is_printable_ascii(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// JavaScript lists keys that are array indices first and by number, whatever the order of their
/// insertion; only the others keep the order they were sorted into.
fn member_order(left: &str, right: &str) -> Ordering {
    match (array_index(left), array_index(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => locale_compare(left, right),
    }
}

/// The largest array index of ECMAScript: 2³² − 2.
const ARRAY_INDEX_MAX: u32 = u32::MAX - 1;

fn array_index(key: &str) -> Option<u32> {
    let index: u32 = key.parse().ok()?;
    (index <= ARRAY_INDEX_MAX && index.to_string() == key).then_some(index)
}

/// The order of the printable ASCII characters in the root collation of CLDR, letters once.
const ROOT_ORDER: &[u8; 69] =
    b" _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz";

/// Two texts of printable ASCII as `String.prototype.localeCompare` orders them in the root
/// locale: first by character without regard to case, over the whole length, then lower case
/// before upper case at the first difference.
pub fn locale_compare(left: &str, right: &str) -> Ordering {
    let primary = |text: &str| -> Vec<usize> { text.bytes().map(weight).collect() };
    primary(left).cmp(&primary(right)).then_with(|| {
        let upper = |byte: u8| byte.is_ascii_uppercase();
        left.bytes().map(upper).cmp(right.bytes().map(upper))
    })
}

fn weight(byte: u8) -> usize {
    let byte = byte.to_ascii_lowercase();
    ROOT_ORDER
        .iter()
        .position(|known| *known == byte)
        .unwrap_or(usize::MAX)
}
