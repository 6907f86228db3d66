//! Verdicts.
//!
//! Above what policies say stands code: tier `high` is never autonomous, tier `blocked` is
//! blocked, mode `assist` lets nothing run by itself, and a skill runs only while the active bundle
//! trusts its publisher. Where the policies, the facts or the plan do
//! not fit together, the answer is no.

use std::collections::BTreeMap;

use contracts::{
    facts::{FACTS_VERSION, Facts, StepFacts, StepVerdict},
    ids::StepId,
    plan::{Mode, Plan, PlanStep, RiskTier, Verdict},
};
use serde::Serialize;

use crate::{
    approval,
    engine::{Engine, Ruling},
    tier,
};

/// The verdict on a plan: as strict as its strictest step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanJudgement {
    pub verdict: Verdict,
    pub requires_approval: bool,
    pub risk_tier: RiskTier,
    pub steps: BTreeMap<StepId, StepVerdict>,
}

/// The first verdict, before anything runs. `engine` is none where no policy is active, and then
/// everything is blocked; so is a plan without steps.
pub fn judge_plan(engine: Option<&Engine>, facts: &Facts, plan: &Plan) -> PlanJudgement {
    let mut judged = Judged::default();
    let steps: BTreeMap<StepId, StepVerdict> = plan
        .steps
        .iter()
        .map(|step| (step.id.clone(), first(engine, facts, step, &mut judged)))
        .collect();
    let verdict = steps
        .values()
        .map(|step| step.verdict)
        .max()
        .unwrap_or(Verdict::Blocked);
    PlanJudgement {
        verdict,
        requires_approval: verdict == Verdict::Assist,
        risk_tier: steps
            .values()
            .map(|step| step.tier)
            .max()
            .unwrap_or(RiskTier::Low),
        steps,
    }
}

/// The second verdict on a step, whose inputs are all known now. It replaces the `provisional`
/// one, but opens nothing that was blocked.
pub fn judge_step(
    engine: Option<&Engine>,
    plan_facts: &Facts,
    step_id: &StepId,
    step: &StepFacts,
    provisional: &StepVerdict,
) -> StepVerdict {
    let Some(planned) = plan_facts.steps.get(step_id) else {
        return blocked(
            step,
            vec![format!("the facts of the plan have no step `{step_id}`")],
        );
    };
    if planned.uses != step.uses || planned.action != step.action {
        let reason = format!("the facts are not those of the plan's step `{step_id}`");
        return blocked(step, vec![reason]);
    }
    let mut verdict = judge(engine, plan_facts, step, false);
    // The effect is the pin's; a catalogue that says less of it now does not lower the tier.
    let floor = tier::of_effect(planned.effect).max(tier::of_declared_risk(planned.declared_risk));
    if verdict.tier < floor {
        return blocked(
            planned,
            vec![
                "the catalogue says another effect of this pin than when the plan was judged"
                    .to_owned(),
            ],
        );
    }
    if provisional.verdict == Verdict::Blocked && verdict.verdict != Verdict::Blocked {
        verdict.verdict = Verdict::Blocked;
        verdict.approval = None;
        verdict
            .reasons
            .push("it was blocked before; only a new plan can be judged otherwise".to_owned());
    }
    verdict
}

/// Verdicts of one plan by what they rest on: steps of which the same is known are judged once.
#[derive(Default)]
struct Judged<'a>(Vec<(&'a StepFacts, bool, StepVerdict)>);

/// Each is compared with all that are kept.
const JUDGED_MAX: usize = 16;

impl<'a> Judged<'a> {
    fn of(
        &mut self,
        step: &'a StepFacts,
        dynamic: bool,
        judge: impl FnOnce() -> StepVerdict,
    ) -> StepVerdict {
        let mut known = self.0.iter();
        if let Some((_, _, verdict)) = known.find(|it| (it.0, it.1) == (step, dynamic)) {
            return verdict.clone();
        }
        let verdict = judge();
        if self.0.len() < JUDGED_MAX {
            self.0.push((step, dynamic, verdict.clone()));
        }
        verdict
    }
}

fn first<'a>(
    engine: Option<&Engine>,
    facts: &'a Facts,
    planned: &PlanStep,
    judged: &mut Judged<'a>,
) -> StepVerdict {
    let Some(step) = facts.steps.get(&planned.id) else {
        return StepVerdict {
            verdict: Verdict::Blocked,
            tier: RiskTier::Blocked,
            reasons: vec!["there are no facts of it".to_owned()],
            policy_ids: Vec::new(),
            approval: None,
            dynamic: false,
        };
    };
    if step.uses != planned.uses || step.action != planned.action {
        return blocked(
            step,
            vec!["its facts are of another action than the plan's".to_owned()],
        );
    }
    let dynamic = !step.inputs_known || planned.has_bindings();
    judged.of(step, dynamic, || judge(engine, facts, step, dynamic))
}

fn judge(engine: Option<&Engine>, facts: &Facts, step: &StepFacts, dynamic: bool) -> StepVerdict {
    let Some(engine) = engine else {
        let reason = "no policy is active; activate a bundle with `policy activate`";
        return StepVerdict {
            dynamic,
            ..blocked(step, vec![reason.to_owned()])
        };
    };
    if facts.version != FACTS_VERSION {
        let reason = format!(
            "the facts are of version {}, and this build knows {FACTS_VERSION}",
            facts.version
        );
        return blocked(step, vec![reason]);
    }
    if !engine.trusts(step) {
        let reason = format!(
            "its publisher `{}` is not trusted by the active bundle; add it to the bundle's trust, or use another skill",
            step.publisher
        );
        return StepVerdict {
            dynamic,
            ..blocked(step, vec![reason])
        };
    }
    match engine.rule(facts, step, dynamic) {
        Ok(ruling) => conclude(engine, facts, step, dynamic, &ruling),
        Err(error) => StepVerdict {
            dynamic,
            ..blocked(step, vec![error.to_string()])
        },
    }
}

/// The ruling of the policies, made stricter where tier, mode or approval demand it.
fn conclude(
    engine: &Engine,
    facts: &Facts,
    step: &StepFacts,
    dynamic: bool,
    ruling: &Ruling,
) -> StepVerdict {
    let mut causes = tier::of_facts(facts, step);
    causes.extend(tier::of_policies(engine, ruling));
    let tier = tier::strongest(&causes);

    let mut verdict = ruling.verdict;
    let mut reasons = said_by_policies(engine, ruling);
    reasons.extend(ruling.reasons.iter().cloned());
    if tier == RiskTier::Blocked {
        verdict = Verdict::Blocked;
    }
    if verdict == Verdict::Autonomous && tier == RiskTier::High {
        verdict = Verdict::Assist;
        let because = causes.iter().filter(|cause| cause.tier == tier);
        reasons.extend(because.map(|cause| {
            format!(
                "high risk never runs without a human's approval: {}",
                cause.because
            )
        }));
    }
    if verdict == Verdict::Autonomous && facts.mode == Mode::Assist {
        verdict = Verdict::Assist;
        reasons.push("the execution's mode is `assist`".to_owned());
    }
    let mut approval = None;
    if verdict == Verdict::Assist {
        match rule(engine, facts, ruling, tier) {
            Ok(rule) => approval = Some(rule),
            Err(impossible) => {
                verdict = Verdict::Blocked;
                reasons.push(impossible.to_string());
            }
        }
    }
    StepVerdict {
        verdict,
        tier,
        reasons,
        policy_ids: ruling.settled.union(&ruling.unsettled).cloned().collect(),
        approval,
        dynamic,
    }
}

/// What policies ask for that rest on facts not yet known may not block: where it cannot be
/// fulfilled together with the rest, the rest alone counts until the second verdict.
fn rule(
    engine: &Engine,
    facts: &Facts,
    ruling: &Ruling,
    tier: RiskTier,
) -> Result<contracts::facts::ApprovalRule, approval::Impossible> {
    let settled = || ruling.settled.iter();
    let said = |id: &String| engine.policies.get(id).map(|policy| &policy.annotations);
    let all = settled().chain(&ruling.unsettled).filter_map(said);
    approval::strictest(all, tier, &facts.actor).or_else(|impossible| {
        if ruling.unsettled.is_empty() {
            return Err(impossible);
        }
        approval::strictest(settled().filter_map(said), tier, &facts.actor)
    })
}

fn said_by_policies(engine: &Engine, ruling: &Ruling) -> Vec<String> {
    let mut reasons = Vec::new();
    for id in ruling.settled.union(&ruling.unsettled) {
        let Some(policy) = engine.policies.get(id) else {
            continue;
        };
        let reason = policy.annotations.reason.clone().unwrap_or_else(|| {
            let does = match policy.effect {
                cedar_policy::Effect::Permit => "permits",
                cedar_policy::Effect::Forbid => "forbids",
            };
            format!("policy `{id}` {does} it")
        });
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    reasons
}

/// Without asking any policy.
fn blocked(step: &StepFacts, reasons: Vec<String>) -> StepVerdict {
    StepVerdict {
        verdict: Verdict::Blocked,
        tier: tier::of_effect(step.effect).max(tier::of_declared_risk(step.declared_risk)),
        reasons,
        policy_ids: Vec::new(),
        approval: None,
        dynamic: false,
    }
}
