//! Where two documents are not the same.

use domain::schema::join;
use serde_json::Value;

use super::report::Change;

/// How many changes of one event are listed: enough to see what was done to it.
const CHANGES_MAX: usize = 32;

/// What `found` has otherwise than `expected`, by JSON pointer.
pub(super) fn changes(expected: &Value, found: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare("", Some(expected), Some(found), &mut changes);
    changes
}

fn compare(path: &str, expected: Option<&Value>, found: Option<&Value>, changes: &mut Vec<Change>) {
    if expected == found || changes.len() >= CHANGES_MAX {
        return;
    }
    match (expected, found) {
        (Some(Value::Object(expected)), Some(Value::Object(found))) => {
            let added = found.keys().filter(|key| !expected.contains_key(*key));
            for key in expected.keys().chain(added) {
                compare(&join(path, key), expected.get(key), found.get(key), changes);
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(found))) => {
            for index in 0..expected.len().max(found.len()) {
                compare(
                    &join(path, &index.to_string()),
                    expected.get(index),
                    found.get(index),
                    changes,
                );
            }
        }
        (expected, found) => changes.push(Change {
            path: path.to_owned(),
            expected: expected.cloned(),
            found: found.cloned(),
        }),
    }
}
