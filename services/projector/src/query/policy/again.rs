//! Judging the recorded facts again by the recorded policy.

use contracts::{
    canonical::Digest,
    event::Event,
    events::verifier::{PlanVerified, StepJudged},
    facts::StepVerdict,
    ids::StepId,
    operations::policy::Reevaluation,
    plan::Plan,
    record::Recorded,
};
use policy::{
    ENGINE_VERSION,
    engine::Engine,
    judge::{judge_plan, judge_step},
};

/// The bundle that a verdict was made by.
pub enum Basis<'a> {
    /// No policy was active, which denies.
    NoPolicy,
    Bundle(&'a Engine),
    /// It is recorded, and cannot be had or loaded.
    Missing,
}

impl<'a> Basis<'a> {
    pub fn of(hash: Option<Digest>, engine: Option<&'a Engine>) -> Self {
        match (hash, engine) {
            (None, _) => Self::NoPolicy,
            (Some(_), Some(engine)) => Self::Bundle(engine),
            (Some(_), None) => Self::Missing,
        }
    }

    fn engine(&self) -> Result<Option<&'a Engine>, Reevaluation> {
        match self {
            Self::NoPolicy => Ok(None),
            Self::Bundle(engine) => Ok(Some(engine)),
            Self::Missing => Err(unknown("the bundle it was made by cannot be loaded")),
        }
    }
}

/// The verdicts on all steps of a plan.
pub fn plan(basis: &Basis<'_>, plan: Option<&Plan>, verified: &PlanVerified) -> Reevaluation {
    let engine = match basis.engine() {
        Ok(engine) => engine,
        Err(unknown) => return unknown,
    };
    let Some(plan) = judged_on_facts(plan, verified) else {
        return unknown("the plan was refused before policy was asked");
    };
    let now = judge_plan(engine, &verified.facts, plan);
    let differs = |id: &&StepId| now.steps.get(*id) != verified.steps.get(*id);
    let all = now.steps.keys().chain(verified.steps.keys());
    let mut steps: Vec<StepId> = all.filter(differs).cloned().collect();
    steps.sort();
    steps.dedup();
    let same = steps.is_empty()
        && (now.verdict, now.risk_tier) == (verified.verdict, verified.risk_tier)
        && now.requires_approval == verified.requires_approval;
    Reevaluation {
        same: Some(same),
        verdict: (!same).then_some(now.verdict),
        risk_tier: (!same).then_some(now.risk_tier),
        steps: (!steps.is_empty()).then_some(steps),
        engine_version: Some(ENGINE_VERSION.to_owned()),
        reason: None,
    }
}

/// The last verdict on one step.
pub fn step(
    basis: &Basis<'_>,
    compiled: Option<&Plan>,
    verified: &PlanVerified,
    judged: Option<&StepJudged>,
    id: &StepId,
) -> Reevaluation {
    let engine = match basis.engine() {
        Ok(engine) => engine,
        Err(unknown) => return unknown,
    };
    let (recorded, now) = if let Some(judged) = judged {
        let Some(provisional) = verified.steps.get(id) else {
            return unknown("there is no first verdict on the step");
        };
        let now = judge_step(engine, &verified.facts, id, &judged.facts, provisional);
        (Some(&judged.verdict), Some(now))
    } else {
        let Some(plan) = judged_on_facts(compiled, verified) else {
            return unknown("the plan was refused before policy was asked");
        };
        let mut now = judge_plan(engine, &verified.facts, plan);
        (verified.steps.get(id), now.steps.remove(id))
    };
    compared(recorded, now.as_ref())
}

fn compared(recorded: Option<&StepVerdict>, now: Option<&StepVerdict>) -> Reevaluation {
    let same = recorded == now;
    let changed = now.filter(|_| !same);
    Reevaluation {
        same: Some(same),
        verdict: changed.map(|now| now.verdict),
        risk_tier: changed.map(|now| now.tier),
        steps: None,
        engine_version: Some(ENGINE_VERSION.to_owned()),
        reason: None,
    }
}

/// The plan, unless there are no facts of it.
fn judged_on_facts<'a>(plan: Option<&'a Plan>, verified: &PlanVerified) -> Option<&'a Plan> {
    plan.filter(|plan| !verified.facts.steps.is_empty() || plan.steps.is_empty())
}

fn unknown(reason: &str) -> Reevaluation {
    Reevaluation {
        same: None,
        verdict: None,
        risk_tier: None,
        steps: None,
        engine_version: None,
        reason: Some(reason.to_owned()),
    }
}

/// The plan that a verdict is on.
pub fn plan_of<'a>(events: &'a [Recorded], verified: &PlanVerified) -> Option<&'a Plan> {
    events.iter().rev().find_map(|recorded| {
        let Event::PlanCompiled(event) = &recorded.event else {
            return None;
        };
        (event.plan_id == verified.plan_id).then_some(&event.plan)
    })
}
