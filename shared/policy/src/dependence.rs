//! Which facts about inputs a policy reads: what a verdict may not rest on while they are not
//! known.

use std::collections::BTreeSet;

use cedar_policy::Policy;
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InputFact {
    Amount,
    Signals,
    Secrets,
}

const ALL: [InputFact; 3] = [InputFact::Amount, InputFact::Signals, InputFact::Secrets];

/// A policy that uses `context` in any other way than by member is taken to read everything.
pub fn of(policy: &Policy) -> BTreeSet<InputFact> {
    let Ok(tree) = policy.to_json() else {
        return ALL.into();
    };
    let mut reads = BTreeSet::new();
    let mut rest = vec![&tree];
    while let Some(node) = rest.pop() {
        match node {
            Value::Object(members) => {
                for (name, member) in members {
                    match (name.as_str(), accessed(member)) {
                        ("." | "has", Some(attribute)) => reads.extend(input_fact(attribute)),
                        ("Var", _) if member == "context" => reads.extend(ALL),
                        _ => rest.push(member),
                    }
                }
            }
            Value::Array(items) => rest.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    reads
}

/// The attribute, where `operands` are `context` and an attribute's name.
fn accessed(operands: &Value) -> Option<&str> {
    let left = operands.get("left")?.get("Var")?;
    (left == "context").then(|| operands.get("attr")?.as_str())?
}

fn input_fact(attribute: &str) -> Option<InputFact> {
    match attribute {
        "amount" => Some(InputFact::Amount),
        "inputSignals" => Some(InputFact::Signals),
        "usesSecrets" => Some(InputFact::Secrets),
        _ => None,
    }
}
