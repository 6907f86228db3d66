//! What the steps of a plan do together.
//!
//! A step reads secrets if its action is labelled `secret` or its inputs name one: what it puts
//! out may hold it. It reads personal data by the label `personal`. It sends outside by its effect
//! or the label `external`, and moves money by its effect or the label `money`.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    facts::{PlanFlow, StepFacts},
    ids::StepId,
    manifest::Effect,
    plan::Plan,
};
use domain::binding::{self, Binding};
use serde_json::Value;

pub fn of(plan: &Plan, facts: &BTreeMap<StepId, StepFacts>) -> PlanFlow {
    let any = |is: fn(&StepFacts) -> bool| facts.values().any(is);
    let sensitive = carrying_sensitive_data(plan, facts);
    PlanFlow {
        reads_secrets: any(reads_secrets),
        reads_personal_data: any(reads_personal_data),
        sends_outside: any(sends_outside),
        moves_money: any(moves_money),
        sensitive_data_leaves: plan.steps.iter().any(|step| {
            facts.get(&step.id).is_some_and(sends_outside)
                && (step.uses_secrets()
                    || sources(&step.with).iter().any(|source| match source {
                        Source::Step(id) => sensitive.contains(id),
                        Source::Unclear => !sensitive.is_empty(),
                    }))
        }),
    }
}

pub fn sends_outside(step: &StepFacts) -> bool {
    step.effect == Effect::External || step.labels.contains("external")
}

pub fn moves_money(step: &StepFacts) -> bool {
    step.effect == Effect::Money || step.labels.contains("money")
}

fn reads_secrets(step: &StepFacts) -> bool {
    step.uses_secrets || step.labels.contains("secret")
}

fn reads_personal_data(step: &StepFacts) -> bool {
    step.labels.contains("personal")
}

/// The steps whose outputs may hold what was read from secrets or personal data, by themselves or
/// through the steps they take inputs from.
fn carrying_sensitive_data<'a>(
    plan: &'a Plan,
    facts: &BTreeMap<StepId, StepFacts>,
) -> BTreeSet<&'a StepId> {
    let mut carrying: BTreeSet<&StepId> = plan
        .steps
        .iter()
        .filter(|step| {
            facts
                .get(&step.id)
                .is_some_and(|step| reads_secrets(step) || reads_personal_data(step))
        })
        .map(|step| &step.id)
        .collect();
    loop {
        let before = carrying.len();
        for step in &plan.steps {
            let takes = sources(&step.with).iter().any(|source| match source {
                Source::Step(id) => carrying.contains(id),
                Source::Unclear => !carrying.is_empty(),
            });
            if takes {
                carrying.insert(&step.id);
            }
        }
        if carrying.len() == before {
            return carrying;
        }
    }
}

enum Source {
    Step(StepId),
    /// A binding that names no step counts as one to each: the compiler lets none through.
    Unclear,
}

fn sources(with: &Value) -> Vec<Source> {
    binding::find(with)
        .into_iter()
        .filter_map(|bound| match bound.binding {
            Ok(Binding::From { step, .. }) => Some(Source::Step(step)),
            Ok(Binding::Secret(_)) => None,
            Ok(Binding::Param(_)) | Err(_) => Some(Source::Unclear),
        })
        .collect()
}
