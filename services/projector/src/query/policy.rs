//! `controlPlane.policy.explain`: from what was recorded with the verdict, and the bundle it was
//! made by.
//!
//! * [`again`]: whether the same comes out when it is judged again
//! * [`engines`]: on which thread, and by which bundles that are kept

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    canonical::Digest,
    event::Event,
    events::verifier::{PlanVerified, StepJudged},
    facts::{ApprovalRule, Eligible, Facts},
    ids::StepId,
    operations::policy::{DecidingPolicy, ExplainInput, ExplainOutput},
    position::{Position, Positions, StreamId},
    problem::{Code, Problem},
    record::Recorded,
};
use host::principals::Principal;
use policy::{
    annotations::Annotations,
    engine::Engine,
    explain::{PolicyExplanation, StepExplanation, explain as explain_plan, explain_step},
};
use serde_json::{Map, Value};

use self::{again::Basis, engines::Bundle};
use crate::{
    api::{Api, unreadable},
    log::{self, History},
};

pub mod engines;

mod again;

pub async fn explain(
    api: &Api,
    principal: &Principal,
    input: ExplainInput,
) -> Result<ExplainOutput, Problem> {
    let at_least = input.at_least.as_ref();
    let history = log::execution(
        &api.host,
        &api.reached,
        principal,
        input.execution_id,
        at_least,
    )
    .await?;
    let Question { hash, catalogue } = question(&history.events, input.step_id.as_ref())?;
    let bundle = match hash {
        None => None,
        Some(hash) => Some(bundle(api, principal, hash, catalogue).await?),
    };
    let History { events, position } = history;
    let judge = move |engine: Option<&Engine>| {
        let basis = Basis::of(hash, engine);
        explained(&events, input.step_id, engine, &basis)
    };
    Ok(ExplainOutput {
        position: Some(position),
        ..api.engines.judge(principal, bundle, judge).await??
    })
}

/// The bundle that was asked, which was active at a sequence of the catalogue; none where no policy
/// was.
struct Question {
    hash: Option<Digest>,
    catalogue: u64,
}

fn question(events: &[Recorded], step: Option<&StepId>) -> Result<Question, Problem> {
    let verified = last_verdict(events).ok_or_else(|| Problem::of(Code::NotVerified))?;
    let judged = step.and_then(|step| last_judgement(events, step));
    let (hash, catalogue) = match judged {
        Some(judged) => (judged.policy_version, judged.catalogue),
        None => (verified.policy_version, verified.catalogue),
    };
    Ok(Question { hash, catalogue })
}

fn explained(
    events: &[Recorded],
    step: Option<StepId>,
    engine: Option<&Engine>,
    basis: &Basis<'_>,
) -> Result<ExplainOutput, Problem> {
    let verified = last_verdict(events).ok_or_else(|| Problem::of(Code::NotVerified))?;
    let plan = again::plan_of(events, verified);
    let Some(step) = step else {
        return Ok(ExplainOutput {
            reevaluation: Some(again::plan(basis, plan, verified)),
            ..of_plan(engine, verified)
        });
    };
    let judged = last_judgement(events, &step);
    let reevaluation = again::step(basis, plan, verified, judged, &step);
    let explained = of_step(engine, verified, judged, step);
    Ok(ExplainOutput {
        reevaluation: Some(reevaluation),
        ..explained.ok_or_else(|| Problem::of(Code::StepNotFound))?
    })
}

fn last_verdict(events: &[Recorded]) -> Option<&PlanVerified> {
    events.iter().rev().find_map(|recorded| {
        let Event::PlanVerified(event) = &recorded.event else {
            return None;
        };
        Some(event)
    })
}

/// The second verdict on a step, if there was one: only an answer to the last proposal counts.
fn last_judgement<'a>(events: &'a [Recorded], step: &StepId) -> Option<&'a StepJudged> {
    let mut proposed = None;
    let mut judged = None;
    for recorded in events {
        if let Event::PlanVerified(_) = &recorded.event {
            judged = None;
        } else if let Event::StepProposed(event) = &recorded.event
            && event.step_id == *step
        {
            proposed = Some(recorded.version());
        } else if let Event::StepJudged(event) = &recorded.event
            && event.step_id == *step
            && Some(event.answers) == proposed
        {
            judged = Some(event);
        }
    }
    judged
}

fn of_plan(engine: Option<&Engine>, verified: &PlanVerified) -> ExplainOutput {
    let explanation = explain_plan(engine, &verified.facts, &verified.steps);
    let mut policies: BTreeMap<String, DecidingPolicy> = BTreeMap::new();
    let mut reasons = Vec::new();
    for (id, step) in &explanation.steps {
        reasons.extend(
            self::reasons(step)
                .into_iter()
                .map(|reason| format!("{id}: {reason}")),
        );
        for policy in &step.policies {
            let deciding = policies
                .entry(policy.id.clone())
                .or_insert_with(|| deciding(policy));
            deciding.steps.get_or_insert_default().push(id.clone());
        }
    }
    // A step without facts was refused before policy was asked.
    for (id, verdict) in &verified.steps {
        if !explanation.steps.contains_key(id) {
            reasons.extend(
                verdict
                    .reasons
                    .iter()
                    .map(|reason| format!("{id}: {reason}")),
            );
        }
    }
    let rules = verified.steps.iter();
    let rules = rules.filter_map(|(id, verdict)| Some((id.clone(), verdict.approval.clone()?)));
    ExplainOutput {
        verdict: verified.verdict,
        risk_tier: verified.risk_tier,
        policy_version: version(verified.policy_version),
        reasons: Some(reasons),
        step_id: None,
        policies: Some(policies.into_values().collect()),
        facts: Some(members(&verified.facts)),
        approvals: not_empty(rules.collect()),
        reevaluation: None,
        engine_version: Some(verified.engine_version.clone()),
        catalogue: Some(verified.catalogue),
        position: None,
    }
}

fn of_step(
    engine: Option<&Engine>,
    verified: &PlanVerified,
    judged: Option<&StepJudged>,
    id: StepId,
) -> Option<ExplainOutput> {
    let verdict = judged
        .map(|judged| &judged.verdict)
        .or_else(|| verified.steps.get(&id))?;
    let facts = judged
        .map(|judged| &judged.facts)
        .or_else(|| verified.facts.steps.get(&id));
    let explanation = facts.map(|facts| explain_step(engine, &verified.facts, facts, verdict));
    let seen = Facts {
        steps: facts
            .map(|facts| (id.clone(), facts.clone()))
            .into_iter()
            .collect(),
        ..verified.facts.clone()
    };
    let (policy, engine_version, catalogue) = match judged {
        Some(it) => (it.policy_version, &it.engine_version, it.catalogue),
        None => (
            verified.policy_version,
            &verified.engine_version,
            verified.catalogue,
        ),
    };
    let rule = verdict.approval.clone();
    Some(ExplainOutput {
        verdict: verdict.verdict,
        risk_tier: verdict.tier,
        policy_version: version(policy),
        reasons: Some(match &explanation {
            Some(explanation) => reasons(explanation),
            None => verdict.reasons.clone(),
        }),
        policies: explanation.map(|it| it.policies.iter().map(deciding).collect()),
        facts: Some(members(&seen)),
        approvals: not_empty(rule.map(|rule| (id.clone(), rule)).into_iter().collect()),
        step_id: Some(id),
        reevaluation: None,
        engine_version: Some(engine_version.clone()),
        catalogue: Some(catalogue),
        position: None,
    })
}

fn not_empty(rules: BTreeMap<StepId, ApprovalRule>) -> Option<BTreeMap<StepId, ApprovalRule>> {
    (!rules.is_empty()).then_some(rules)
}

/// What the verdict says, then what its tier rests on.
fn reasons(step: &StepExplanation) -> Vec<String> {
    let causes = step.tier.iter();
    let tiers = causes.map(|cause| format!("risk {}: {}", cause.tier.as_str(), cause.because));
    step.verdict.reasons.iter().cloned().chain(tiers).collect()
}

fn deciding(policy: &PolicyExplanation) -> DecidingPolicy {
    let known = policy.policy.as_ref();
    DecidingPolicy {
        id: policy.id.clone(),
        text: known.map(|policy| policy.text.clone()),
        annotations: known.map(|policy| annotations(&policy.annotations)),
        effect: known.map(|policy| policy.effect.to_owned()),
        file: known.map(|policy| policy.file.clone()),
        steps: None,
    }
}

/// As they are written in Cedar.
fn annotations(said: &Annotations) -> BTreeMap<String, String> {
    let approvers = |approvers: &BTreeSet<Eligible>| {
        let names: Vec<String> = approvers
            .iter()
            .map(|eligible| match eligible {
                Eligible::Grant(grant) => format!("grant:{grant}"),
                Eligible::Principal(id) => format!("principal:{id}"),
            })
            .collect();
        names.join(", ")
    };
    [
        ("reason", said.reason.clone()),
        ("risk", said.risk.map(|tier| tier.as_str().to_owned())),
        ("quorum", said.quorum.map(|quorum| quorum.to_string())),
        ("approvers", said.approvers.as_ref().map(approvers)),
        (
            "expires",
            said.expires_after_ms.map(|ms| format!("{}s", ms / 1000)),
        ),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

fn version(policy: Option<Digest>) -> String {
    policy.map_or_else(|| "none".to_owned(), |hash| hash.to_string())
}

fn members(facts: &Facts) -> Map<String, Value> {
    match serde_json::to_value(facts) {
        Ok(Value::Object(members)) => members,
        // Facts are a struct of integers, texts and enums.
        Ok(_) | Err(_) => Map::new(),
    }
}

/// As it was recorded, unless it is loaded.
async fn bundle(
    api: &Api,
    principal: &Principal,
    hash: Digest,
    catalogue: u64,
) -> Result<Bundle, Problem> {
    if let Some(engine) = api.engines.kept(&hash) {
        return Ok(Bundle::Loaded(engine));
    }
    // The read model keeps every bundle there was, and may not be as far yet.
    let activated = Positions::from(Position {
        stream: StreamId::Catalogue,
        sequence: catalogue,
    });
    api.reached.at_least(Some(&activated)).await?;
    let found = api.reader.bundle(&principal.workspace, &hash).await;
    let json = found.map_err(|error| unreadable(&error))?;
    Ok(Bundle::Recorded { hash, json })
}
