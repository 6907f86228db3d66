//! Why a verdict came out as it did: from the recorded facts, the recorded verdict and the bundle
//! alone.

use std::collections::BTreeMap;

use cedar_policy::Effect;
use contracts::{
    facts::{Actor, Facts, PlanFlow, StepFacts, StepVerdict, TextSignal},
    ids::StepId,
    plan::Mode,
};
use serde::Serialize;

use crate::{annotations::Annotations, engine::Engine, tier};

/// Of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub actor: Actor,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    pub mode: Mode,
    pub signals: Vec<TextSignal>,
    pub flow: PlanFlow,
    pub steps: BTreeMap<StepId, StepExplanation>,
}

/// Of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepExplanation {
    pub verdict: StepVerdict,
    pub facts: StepFacts,
    /// What the tier rests on, the strongest first.
    pub tier: Vec<tier::Cause>,
    pub policies: Vec<PolicyExplanation>,
    /// The ids of the policies that were asked.
    pub considered: Vec<String>,
}

/// One of the policies that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyExplanation {
    pub id: String,
    /// Absent where the bundle at hand has no such policy: the verdict was made by another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyText>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyText {
    pub file: String,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    pub annotations: Annotations,
    pub text: String,
}

/// Of the verdicts on a plan, those of `plan.verified`.
pub fn explain(
    engine: Option<&Engine>,
    facts: &Facts,
    verdicts: &BTreeMap<StepId, StepVerdict>,
) -> Explanation {
    Explanation {
        actor: facts.actor.clone(),
        channel: facts.channel.clone(),
        mode: facts.mode,
        signals: facts.signals.iter().copied().collect(),
        flow: facts.flow,
        steps: facts
            .steps
            .iter()
            .filter_map(|(id, step)| {
                let verdict = verdicts.get(id)?;
                Some((id.clone(), explain_step(engine, facts, step, verdict)))
            })
            .collect(),
    }
}

/// Of a verdict on one step, the second one included, with the facts it was made on.
pub fn explain_step(
    engine: Option<&Engine>,
    plan_facts: &Facts,
    step: &StepFacts,
    verdict: &StepVerdict,
) -> StepExplanation {
    let policies: Vec<PolicyExplanation> = verdict
        .policy_ids
        .iter()
        .map(|id| PolicyExplanation {
            id: id.clone(),
            policy: engine.and_then(|engine| text(engine, id)),
        })
        .collect();
    let mut causes = tier::of_facts(plan_facts, step);
    for PolicyExplanation { id, policy } in &policies {
        let said = policy.as_ref().and_then(|policy| policy.annotations.risk);
        causes.extend(said.map(|tier| tier::Cause {
            tier: tier.min(verdict.tier),
            because: format!("policy `{id}` says so"),
        }));
    }
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.tier));
    StepExplanation {
        verdict: verdict.clone(),
        facts: step.clone(),
        tier: causes,
        policies,
        considered: engine
            .map(|engine| engine.considered(&step.uses.key, &step.action))
            .unwrap_or_default()
            .into_iter()
            .map(str::to_owned)
            .collect(),
    }
}

fn text(engine: &Engine, id: &str) -> Option<PolicyText> {
    let policy = engine.policies.get(id)?;
    Some(PolicyText {
        file: policy.file.clone(),
        effect: match policy.effect {
            Effect::Permit => "permit",
            Effect::Forbid => "forbid",
        },
        annotations: policy.annotations.clone(),
        text: policy.text.clone(),
    })
}
