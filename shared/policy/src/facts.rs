//! The facts of a plan and of a step, version 1.
//!
//! Effect, risk, labels and publisher come from the catalogue by pin, never from the plan.
//!
//! What an input that is not known yet would say is absent, never assumed. `inputs_known` is false
//! for a step with any `$from`; its amount is nevertheless stated where both members of the amount
//! are literal in the plan, and the texts that are literal are searched. An amount that is absent,
//! negative, fractional, beyond 2⁵³, or of no three-letter currency is no amount: policies are
//! written so that this counts as large, and the tier does so in code.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    events::intake::IntentReceived,
    facts::{Amount, FACTS_VERSION, Facts, StepFacts, TextSignal},
    ids::{ActionName, Pin, StepId, WorkspaceId},
    manifest::{ActionDefinition, AmountPointer},
    plan::{Plan, PlanStep},
};
use domain::catalogue::Catalogue;
use serde_json::Value;

use crate::{flow, signals};

/// A step names what the catalogue does not hold at exactly this content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "step `{step}` uses action `{action}` of `{pin}`, which the catalogue does not hold; compile the plan again"
)]
pub struct UnknownPin {
    pub step: StepId,
    pub pin: Box<Pin>,
    pub action: ActionName,
}

/// There are no facts of this step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    #[error("the plan has no step `{0}`")]
    Step(StepId),
    #[error(transparent)]
    Pin(#[from] UnknownPin),
}

/// Beyond it other readers of JSON would round.
const MINOR_MAX: i64 = 1 << 53;

/// Of a plan, before anything has run.
pub fn of_plan(
    intent: &IntentReceived,
    plan: &Plan,
    workspace: &WorkspaceId,
    catalogue: &Catalogue,
) -> Result<Facts, UnknownPin> {
    let mut steps = BTreeMap::new();
    for step in &plan.steps {
        let facts = step_facts(step, &step.with, workspace, catalogue)?;
        steps.insert(step.id.clone(), facts);
    }
    Ok(Facts {
        version: FACTS_VERSION,
        actor: intent.actor.clone(),
        channel: intent.channel_key.clone(),
        mode: intent.mode,
        signals: signals::of_text(&intent.text),
        flow: flow::of(plan, &steps),
        steps,
    })
}

/// Of one step whose inputs are all known: bindings resolved, secrets as references.
pub fn of_step(
    plan: &Plan,
    step: &StepId,
    inputs: &Value,
    workspace: &WorkspaceId,
    catalogue: &Catalogue,
) -> Result<StepFacts, Unresolved> {
    let planned = plan
        .step(step)
        .ok_or_else(|| Unresolved::Step(step.clone()))?;
    let mut facts = step_facts(planned, inputs, workspace, catalogue)?;
    facts.inputs_known = true;
    // An output of an earlier step that names a secret would be handed that secret.
    if secrets(inputs) != secrets(&planned.with) {
        facts.uses_secrets = true;
        facts.signals.insert(TextSignal::SecretRequest);
    }
    Ok(facts)
}

fn step_facts(
    step: &PlanStep,
    inputs: &Value,
    workspace: &WorkspaceId,
    catalogue: &Catalogue,
) -> Result<StepFacts, UnknownPin> {
    let (skill, action): (_, &ActionDefinition) = catalogue
        .action(workspace, &step.uses, &step.action)
        .ok_or_else(|| UnknownPin {
            step: step.id.clone(),
            pin: Box::new(step.uses.clone()),
            action: step.action.clone(),
        })?;
    Ok(StepFacts {
        uses: step.uses.clone(),
        action: step.action.clone(),
        publisher: skill.publisher.clone(),
        effect: action.effect,
        declared_risk: action.risk,
        labels: action.labels.clone(),
        uses_secrets: step.uses_secrets(),
        inputs_known: !step.has_bindings(),
        amount: action
            .amount
            .as_ref()
            .and_then(|pointer| amount(pointer, inputs)),
        signals: signals::of_value(inputs, &step.with),
    })
}

fn amount(pointer: &AmountPointer, inputs: &Value) -> Option<Amount> {
    let minor = inputs.pointer(&pointer.minor)?.as_i64()?;
    let currency = inputs.pointer(&pointer.currency)?.as_str()?;
    let is_code = currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase());
    ((0..=MINOR_MAX).contains(&minor) && is_code).then(|| Amount {
        minor,
        currency: currency.to_owned(),
    })
}

/// The secrets that a document names, and where.
fn secrets(document: &Value) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut rest = vec![(String::new(), document)];
    while let Some((path, value)) = rest.pop() {
        match value {
            Value::Object(members) => {
                if let Some(name) = members.get("$secret") {
                    found.insert((path.clone(), name.to_string()));
                }
                for (name, member) in members {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    rest.push((format!("{path}/{name}"), member));
                }
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                rest.extend(items.map(|(index, item)| (format!("{path}/{index}"), item)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    found
}
