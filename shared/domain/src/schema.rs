//! JSON Schema, as skills use it for inputs, outputs and parameters. Schemas stand alone: what
//! they refer to must be inside them.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use jsonschema::Validator;
use serde_json::Value;

/// An instance that does not fit its schema, in one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// JSON pointer into the instance.
    pub path: String,
    pub keyword: String,
    pub message: String,
}

/// A schema that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a usable JSON Schema: {0}")]
pub struct InvalidSchema(pub String);

/// The most faults that are reported of one instance.
const FAULTS_MAX: usize = 50;

/// Whether `schema` can be used at all.
pub fn check(schema: &Value) -> Result<(), InvalidSchema> {
    jsonschema::validator_for(schema)
        .map(drop)
        .map_err(|error| InvalidSchema(error.to_string()))
}

/// Every fault of `instance`, sorted; empty where it fits.
pub fn faults(schema: &Value, instance: &Value) -> Result<Vec<Fault>, InvalidSchema> {
    let validator = compiled(schema)?;
    let mut faults: Vec<Fault> = validator
        .iter_errors(instance)
        .take(FAULTS_MAX)
        .map(|error| Fault {
            path: error.instance_path().to_string(),
            keyword: error.kind().keyword().to_owned(),
            // The instance may hold what must not be shown, so it is left out.
            message: error.masked().to_string(),
        })
        .collect();
    faults.sort();
    Ok(faults)
}

/// How many compiled schemas are kept: those of the actions that are used, in most installations.
const COMPILED_MAX: usize = 256;

thread_local! {
    /// By the schema's text. What is compiled follows from that alone, so keeping it decides nothing;
    /// compiling costs ten times the check.
    static COMPILED: RefCell<HashMap<String, Rc<Validator>>> = RefCell::default();
}

fn compiled(schema: &Value) -> Result<Rc<Validator>, InvalidSchema> {
    let text = schema.to_string();
    COMPILED.with_borrow_mut(|kept| {
        if let Some(validator) = kept.get(&text) {
            return Ok(Rc::clone(validator));
        }
        let validator = jsonschema::validator_for(schema);
        let validator = Rc::new(validator.map_err(|error| InvalidSchema(error.to_string()))?);
        if kept.len() >= COMPILED_MAX {
            kept.clear();
        }
        kept.insert(text, Rc::clone(&validator));
        Ok(validator)
    })
}

/// The part of `schema` that describes what `pointer` points to, as far as `properties`,
/// `additionalProperties` and `items` tell.
pub fn at<'a>(schema: &'a Value, pointer: &str) -> Described<'a> {
    let mut schema = schema;
    for token in tokens(pointer) {
        match step(schema, &token) {
            Described::As(next) => schema = next,
            undescribed @ (Described::Open | Described::Absent) => return undescribed,
        }
    }
    Described::As(schema)
}

/// What a schema says of a place in its instances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Described<'a> {
    As(&'a Value),
    /// The schema leaves it open.
    Open,
    /// No instance has it.
    Absent,
}

fn step<'a>(schema: &'a Value, token: &str) -> Described<'a> {
    let Value::Object(members) = schema else {
        return Described::Open;
    };
    if let Some(found) = members.get("properties").and_then(|all| all.get(token)) {
        return Described::As(found);
    }
    if token.bytes().all(|b| b.is_ascii_digit())
        && let Some(items) = members.get("items")
    {
        return Described::As(items);
    }
    match members.get("additionalProperties") {
        Some(Value::Bool(false)) => Described::Absent,
        Some(schema @ Value::Object(_)) => Described::As(schema),
        _ => scalar_or_open(schema),
    }
}

fn scalar_or_open(schema: &Value) -> Described<'_> {
    let types = types(schema);
    let may_hold_members =
        types.is_empty() || types.contains(&"object") || types.contains(&"array");
    if may_hold_members {
        Described::Open
    } else {
        Described::Absent
    }
}

/// The JSON types a schema names; empty where it names none.
pub fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether a value of one schema's types can be of the other's.
pub fn may_fit(producer: &Value, consumer: &Value) -> bool {
    let (from, to) = (types(producer), types(consumer));
    from.is_empty()
        || to.is_empty()
        || from.iter().any(|kind| {
            to.contains(kind)
                || (*kind == "integer" && to.contains(&"number"))
                || (*kind == "number" && to.contains(&"integer"))
        })
}

/// The tokens of a JSON pointer, unescaped.
pub fn tokens(pointer: &str) -> impl Iterator<Item = String> {
    pointer
        .split('/')
        .skip(1)
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
}

/// `pointer` with one more token.
pub fn join(pointer: &str, token: &str) -> String {
    format!("{pointer}/{}", token.replace('~', "~0").replace('/', "~1"))
}
