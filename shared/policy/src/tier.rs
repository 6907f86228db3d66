//! How risky a step is: the strongest of what its effect is, what its publisher declares, what the
//! facts show, and what the deciding policies say by `@risk`.

use contracts::{
    facts::{Facts, StepFacts},
    manifest::{DeclaredRisk, Effect},
    plan::RiskTier,
};
use serde::Serialize;

use crate::{
    engine::{Engine, Ruling},
    flow, request,
};

/// One thing that makes a step at least so risky.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    pub tier: RiskTier,
    pub because: String,
}

impl Cause {
    fn new(tier: RiskTier, because: impl Into<String>) -> Self {
        Self {
            tier,
            because: because.into(),
        }
    }
}

/// What an effect alone makes of a step, whatever policies and inputs say.
pub const fn of_effect(effect: Effect) -> RiskTier {
    match effect {
        Effect::Read | Effect::Write => RiskTier::Low,
        Effect::External | Effect::Money => RiskTier::Medium,
        Effect::Irreversible => RiskTier::High,
    }
}

pub const fn of_declared_risk(risk: DeclaredRisk) -> RiskTier {
    match risk {
        DeclaredRisk::Low => RiskTier::Low,
        DeclaredRisk::Medium => RiskTier::Medium,
        DeclaredRisk::High => RiskTier::High,
    }
}

/// What the facts make of a step, without policies. Never empty.
pub fn of_facts(facts: &Facts, step: &StepFacts) -> Vec<Cause> {
    let mut causes = vec![
        Cause::new(
            of_effect(step.effect),
            format!("its effect is `{}`", request::effect(step.effect)),
        ),
        Cause::new(
            of_declared_risk(step.declared_risk),
            format!(
                "its publisher declares the risk `{}`",
                request::risk(step.declared_risk)
            ),
        ),
    ];
    for label in ["external", "money"] {
        if step.labels.contains(label) {
            causes.push(Cause::new(
                RiskTier::Medium,
                format!("it is labelled `{label}`"),
            ));
        }
    }
    if step.uses_secrets {
        causes.push(Cause::new(RiskTier::Medium, "it is given a secret"));
    }
    if flow::moves_money(step) && step.inputs_known && step.amount.is_none() {
        causes.push(Cause::new(
            RiskTier::High,
            "it moves an amount of money that is not stated",
        ));
    }
    if facts.flow.sensitive_data_leaves && flow::sends_outside(step) {
        causes.push(Cause::new(
            RiskTier::High,
            "the plan sends outside what comes from secrets or personal data",
        ));
    }
    if !facts.signals.is_empty() {
        causes.push(Cause::new(
            RiskTier::High,
            "the text of the intent carries a risk signal",
        ));
    }
    if !step.signals.is_empty() {
        causes.push(Cause::new(
            RiskTier::High,
            "a text among its inputs carries a risk signal",
        ));
    }
    causes
}

/// What the deciding policies make of a step. A policy that rests on facts not yet known makes it
/// `high` at most, since it may not block.
pub(crate) fn of_policies(engine: &Engine, ruling: &Ruling) -> Vec<Cause> {
    let of = |id: &String| {
        let tier = engine.policies.get(id)?.annotations.risk?;
        Some(Cause::new(tier, format!("policy `{id}` says so")))
    };
    let settled = ruling.settled.iter().filter_map(of);
    let unsettled = ruling.unsettled.iter().filter_map(of).map(|cause| Cause {
        tier: cause.tier.min(RiskTier::High),
        ..cause
    });
    settled.chain(unsettled).collect()
}

pub(crate) fn strongest(causes: &[Cause]) -> RiskTier {
    causes
        .iter()
        .map(|cause| cause.tier)
        .max()
        .unwrap_or(RiskTier::Low)
}
