//! Inputs that stand for something known later: `{"$from": "/steps/<id>/output/<pointer>"}`,
//! `{"$param": "/<pointer>"}` and `{"$secret": "<name>"}`.
//!
//! A secret is never resolved here: its name travels to the worker, which holds the value, so
//! secrets never enter the log.

use contracts::ids::StepId;
use serde_json::{Map, Value};

use crate::schema::join;

/// What an input stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// The output of another step, from this JSON pointer on.
    From { step: StepId, pointer: String },
    /// A parameter of the playbook.
    Param(String),
    /// A secret, by name.
    Secret(String),
}

/// A binding in a value, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// JSON pointer to the binding.
    pub path: String,
    pub binding: Result<Binding, Malformed>,
}

/// An object that looks like a binding and is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

/// A binding to an output that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    #[error("{path}: nothing at `{pointer}` in the output of step `{step}`")]
    Nothing {
        path: String,
        step: StepId,
        pointer: String,
    },
    /// An output is data: a worker would take what stands there for a secret of the plan's, and
    /// who looks at the inputs for another reference.
    #[error(
        "{path}: the output of step `{step}` names a secret or another reference (a member that starts with `$`) at or below `{pointer}`, which only a plan may"
    )]
    HoldsReference {
        path: String,
        step: StepId,
        pointer: String,
    },
    #[error("{path}: with it the inputs would have more than {INPUTS_BYTES_MAX} bytes")]
    TooLarge { path: String },
}

/// Every binding in `value`, in document order.
pub fn find(value: &Value) -> Vec<Bound> {
    let mut found = Vec::new();
    collect(value, "", &mut found);
    found
}

fn collect(value: &Value, path: &str, found: &mut Vec<Bound>) {
    match value {
        Value::Object(members) => match parse(members) {
            Some(binding) => found.push(Bound {
                path: path.to_owned(),
                binding,
            }),
            None => {
                for (key, item) in members {
                    collect(item, &join(path, key), found);
                }
            }
        },
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &join(path, &index.to_string()), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Nothing where the object is plain data.
fn parse(members: &Map<String, Value>) -> Option<Result<Binding, Malformed>> {
    // The first in alphabetical order, so that the order of members decides nothing.
    let key = members.keys().filter(|key| key.starts_with('$')).min()?;
    let malformed = |text: String| Some(Err(Malformed(text)));
    if members.len() > 1 {
        return malformed(format!(
            "a binding stands alone: `{key}` has other members beside it"
        ));
    }
    let Some(Value::String(target)) = members.get(key) else {
        return malformed(format!("`{key}` takes a text"));
    };
    match key.as_str() {
        "$from" => match parse_from(target) {
            Some(binding) => Some(Ok(binding)),
            None => malformed(format!(
                "`{target}` is not `/steps/<id>/output` or a pointer below it"
            )),
        },
        "$param" if target.is_empty() || target.starts_with('/') => {
            Some(Ok(Binding::Param(target.clone())))
        }
        "$param" => malformed(format!(
            "`{target}` is not a JSON pointer such as `/orderId`"
        )),
        "$secret" if !target.is_empty() && target.len() <= 128 => {
            Some(Ok(Binding::Secret(target.clone())))
        }
        "$secret" => malformed("a secret has a name of 1 to 128 bytes".to_owned()),
        other => malformed(format!(
            "`{other}` is unknown: use `$from`, `$param` or `$secret`"
        )),
    }
}

fn parse_from(target: &str) -> Option<Binding> {
    let (step, rest) = target.strip_prefix("/steps/")?.split_once('/')?;
    let pointer = rest.strip_prefix("output")?;
    (pointer.is_empty() || pointer.starts_with('/')).then_some(())?;
    Some(Binding::From {
        step: step.parse().ok()?,
        pointer: pointer.to_owned(),
    })
}

/// `value` with each binding replaced by what `replace` gives for it, which takes the pointer to
/// it; where that is nothing, the binding stays as it is.
pub fn substitute(
    value: &Value,
    mut replace: impl FnMut(&str, &Binding) -> Option<Value>,
) -> Value {
    rewrite(value, "", &mut replace)
}

fn rewrite(
    value: &Value,
    path: &str,
    replace: &mut impl FnMut(&str, &Binding) -> Option<Value>,
) -> Value {
    match value {
        Value::Object(members) => {
            if let Some(Ok(binding)) = parse(members) {
                return replace(path, &binding).unwrap_or_else(|| value.clone());
            }
            let rewritten = members
                .iter()
                .map(|(key, item)| (key.clone(), rewrite(item, &join(path, key), replace)));
            Value::Object(rewritten.collect())
        }
        Value::Array(items) => {
            let rewritten = items
                .iter()
                .enumerate()
                .map(|(index, item)| rewrite(item, &join(path, &index.to_string()), replace));
            Value::Array(rewritten.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// The most bytes that outputs may bring into the inputs of one step, about: a draft may bind one
/// output a thousand times, and all of it would be stored and sent.
pub const INPUTS_BYTES_MAX: usize = 512 * 1024;

/// A step's inputs with every output bound; secrets stay as references.
pub fn resolve<'a>(
    with: &Value,
    output: impl Fn(&StepId) -> Option<&'a Value>,
) -> Result<Value, Vec<Unresolved>> {
    let mut faults = Vec::new();
    let mut bytes = 0_usize;
    let resolved = substitute(with, |path, binding| {
        // Parameters were filled in when the plan was compiled.
        let Binding::From { step, pointer } = binding else {
            return None;
        };
        let (path, step, pointer) = (path.to_owned(), step.clone(), pointer.clone());
        match output(&step).and_then(|output| output.pointer(&pointer)) {
            Some(found) if holds_reference(found) => {
                faults.push(Unresolved::HoldsReference {
                    path,
                    step,
                    pointer,
                });
                None
            }
            Some(found) => {
                bytes = bytes.saturating_add(size(found));
                if bytes > INPUTS_BYTES_MAX {
                    // One fault tells it; the rest is not even looked at.
                    if faults
                        .last()
                        .is_none_or(|fault| !matches!(fault, Unresolved::TooLarge { .. }))
                    {
                        faults.push(Unresolved::TooLarge { path });
                    }
                    return None;
                }
                Some(found.clone())
            }
            None => {
                faults.push(Unresolved::Nothing {
                    path,
                    step,
                    pointer,
                });
                None
            }
        }
    });
    if faults.is_empty() {
        Ok(resolved)
    } else {
        Err(faults)
    }
}

/// About how many bytes of JSON a value is.
pub fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Value::Object(members) => {
            let member = |(key, item): (&String, &Value)| key.len() + 4 + size(item);
            members.iter().map(member).sum::<usize>() + 2
        }
    }
}

fn holds_reference(value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            members.keys().any(|name| name.starts_with('$'))
                || members.values().any(holds_reference)
        }
        Value::Array(items) => items.iter().any(holds_reference),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
