//! Whether the inputs of a step fit its action, as far as they are known before it runs.

use std::collections::BTreeSet;

use contracts::{canonical, ids::StepId};
use serde_json::Value;

use super::Resolved;
use crate::{
    binding::{self, Binding},
    draft::Findings,
    schema::{self, Described, Fault, InvalidSchema},
};

/// The most bytes that a draft may write as the inputs of one step, about: with what outputs may
/// bring it is sent as one message, of which the broker takes a mebibyte.
const WITH_BYTES_MAX: usize = 256 * 1024;

/// `unfilled` are pointers to parameters that are missing, which has been found already.
pub(super) fn check(
    resolved: &Resolved<'_>,
    all: &[Resolved<'_>],
    unfilled: &BTreeSet<String>,
    findings: &mut Findings,
) {
    let step = resolved.step;
    let base = format!("{}/with", step.path);
    check_numbers(&step.with, &base, findings);
    if binding::size(&step.with) > WITH_BYTES_MAX {
        findings.add(
            &base,
            "INPUT_TOO_LARGE",
            format!("more than {WITH_BYTES_MAX} bytes: pass a reference to what is large"),
        );
    }
    for bound in binding::find(&step.with) {
        let path = format!("{base}{}", bound.path);
        let consumer = resolved
            .action
            .map(|(_, action)| schema::at(&action.input, &bound.path));
        match bound.binding {
            Err(error) => findings.add(path, "BINDING_INVALID", error.to_string()),
            Ok(Binding::From {
                step: from,
                pointer,
            }) if from == step.id => findings.add(
                path,
                "SELF_DEPENDENCY",
                format!("step `{from}` takes `{pointer}` of its own output"),
            ),
            Ok(Binding::From {
                step: from,
                pointer,
            }) => {
                check_from(&path, &from, &pointer, consumer, all, findings);
            }
            Ok(Binding::Param(_)) if unfilled.contains(&path) => {}
            Ok(Binding::Param(_)) => findings.add(
                path,
                "PARAM_OUTSIDE_PLAYBOOK",
                "`$param` stands for a playbook's parameter: write the value itself",
            ),
            // The worker resolves it.
            Ok(Binding::Secret(_)) => {}
        }
    }
    let Some((_, action)) = resolved.action else {
        return;
    };
    match faults(&action.input, &step.with) {
        Ok(faults) => {
            for fault in faults {
                findings.add(
                    format!("{base}{}", fault.path),
                    "INPUT_INVALID",
                    fault.message,
                );
            }
        }
        Err(error) => findings.add(base, "SKILL_INVALID", error.to_string()),
    }
}

/// The faults of `with`, but for those that bindings leave undecided: what stands at a binding, or
/// what its value decides, is checked when it is known.
pub(crate) fn faults(schema: &Value, with: &Value) -> Result<Vec<Fault>, InvalidSchema> {
    let bound = binding::find(with);
    let undecided = |fault: &Fault| {
        bound.iter().any(|bound| {
            let at = &bound.path;
            starts_with(&fault.path, at)
                || (starts_with(at, &fault.path) && depends_on_members(&fault.keyword))
        })
    };
    let mut faults = schema::faults(schema, with)?;
    faults.retain(|fault| !undecided(fault));
    Ok(faults)
}

/// Every number has a canonical form, or the plan has none.
fn check_numbers(value: &Value, path: &str, findings: &mut Findings) {
    match value {
        Value::Number(number) => {
            if canonical::check(value).is_err() {
                findings.add(
                    path,
                    "NUMBER_NOT_EXACT",
                    format!("{number} cannot be represented exactly: send it as a text"),
                );
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_numbers(item, &schema::join(path, &index.to_string()), findings);
            }
        }
        Value::Object(members) => {
            for (key, item) in members {
                check_numbers(item, &schema::join(path, key), findings);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Keywords that fail on an object for what one of its members is.
fn depends_on_members(keyword: &str) -> bool {
    matches!(
        keyword,
        "anyOf" | "oneOf" | "allOf" | "not" | "enum" | "const" | "if" | "contains" | "uniqueItems"
    )
}

/// Whether `pointer` is `prefix` or below it.
fn starts_with(pointer: &str, prefix: &str) -> bool {
    pointer
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn check_from(
    path: &str,
    from: &StepId,
    pointer: &str,
    consumer: Option<Described<'_>>,
    all: &[Resolved<'_>],
    findings: &mut Findings,
) {
    let Some(producer) = all.iter().find(|candidate| candidate.step.id == *from) else {
        findings.add(
            path,
            "BINDING_UNKNOWN_STEP",
            format!("there is no step `{from}`"),
        );
        return;
    };
    let Some((_, action)) = producer.action else {
        // Its own finding says that the action is unknown.
        return;
    };
    match (schema::at(&action.output, pointer), consumer) {
        (Described::Absent, _) => findings.add(
            path,
            "BINDING_UNKNOWN_OUTPUT",
            format!("the output of step `{from}` has nothing at `{pointer}`"),
        ),
        (Described::As(from), Some(Described::As(to))) if !schema::may_fit(from, to) => findings
            .add(
                path,
                "BINDING_TYPE",
                format!(
                    "the output is {}, the input takes {}",
                    schema::types(from).join(" or "),
                    schema::types(to).join(" or ")
                ),
            ),
        (Described::As(_) | Described::Open, _) => {}
    }
}
