//! A verifier whose verdicts a test dictates, by policy and step.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    canonical::Digest,
    facts::{ApprovalRule, Eligible, FACTS_VERSION, Facts, PlanFlow, StepFacts, StepVerdict},
    ids::{PrincipalId, StepId},
    manifest::{DeclaredRisk, Effect},
    plan::{Plan, PlanStep, RiskTier, Verdict},
};
use domain::execution::verification::PlanAnswer;

use super::people::{HOUR, who};

/// What a policy says of each step that a test names; of others, that they may run.
#[derive(Clone, Default)]
pub struct Judge {
    by_policy: BTreeMap<(Digest, StepId), Ruling>,
}

#[derive(Clone)]
pub struct Ruling {
    pub verdict: Verdict,
    pub tier: RiskTier,
    pub approval: Option<ApprovalRule>,
}

pub fn autonomous() -> Ruling {
    Ruling {
        verdict: Verdict::Autonomous,
        tier: RiskTier::Low,
        approval: None,
    }
}

/// One person approves within an hour.
pub fn assist() -> Ruling {
    Ruling {
        verdict: Verdict::Assist,
        tier: RiskTier::Medium,
        approval: Some(rule(1)),
    }
}

pub fn blocked() -> Ruling {
    Ruling {
        verdict: Verdict::Blocked,
        tier: RiskTier::Blocked,
        approval: None,
    }
}

pub fn rule(quorum: u32) -> ApprovalRule {
    ApprovalRule {
        quorum,
        eligible: [Eligible::Grant("execution.approve".to_owned())].into(),
        expires_after_ms: u64::try_from(HOUR).unwrap(),
        plan_hash_required: false,
    }
}

impl Ruling {
    pub fn quorum(mut self, quorum: u32) -> Self {
        self.approval = Some(rule(quorum));
        self
    }

    /// Of high risk, as the shipped policy judges it.
    pub fn high(mut self) -> Self {
        self.tier = RiskTier::High;
        self.approval = Some(ApprovalRule {
            plan_hash_required: true,
            ..rule(1)
        });
        self
    }

    /// Only this person may vote.
    pub fn by(mut self, person: &str) -> Self {
        let only: PrincipalId = person.parse().unwrap();
        self.approval = Some(ApprovalRule {
            eligible: [Eligible::Principal(only)].into(),
            ..rule(1)
        });
        self
    }
}

impl Judge {
    pub fn set(&mut self, policy: Digest, step: &str, ruling: Ruling) {
        self.by_policy
            .insert((policy, step.parse().unwrap()), ruling);
    }

    /// Without a policy everything is blocked.
    pub fn step(&self, policy: Option<Digest>, step: &StepId, dynamic: bool) -> StepVerdict {
        let ruling = match policy {
            None => blocked(),
            Some(policy) => self
                .by_policy
                .get(&(policy, step.clone()))
                .cloned()
                .unwrap_or_else(autonomous),
        };
        StepVerdict {
            verdict: ruling.verdict,
            tier: ruling.tier,
            reasons: match ruling.verdict {
                Verdict::Autonomous => Vec::new(),
                Verdict::Assist => vec!["a human decides".to_owned()],
                Verdict::Blocked => vec!["forbidden".to_owned()],
            },
            policy_ids: Vec::new(),
            approval: ruling.approval,
            dynamic,
        }
    }

    pub fn plan(&self, policy: Option<Digest>, plan: &Plan) -> PlanAnswer {
        let steps: BTreeMap<StepId, StepVerdict> = plan
            .steps
            .iter()
            .map(|step| {
                (
                    step.id.clone(),
                    self.step(policy, &step.id, step.has_bindings()),
                )
            })
            .collect();
        let verdict = steps.values().map(|step| step.verdict).max();
        let tier = steps.values().map(|step| step.tier).max();
        PlanAnswer {
            facts: facts(plan),
            verdict: verdict.unwrap_or(Verdict::Blocked),
            requires_approval: verdict == Some(Verdict::Assist),
            risk_tier: tier.unwrap_or(RiskTier::Blocked),
            steps,
        }
    }
}

fn facts(plan: &Plan) -> Facts {
    Facts {
        version: FACTS_VERSION,
        actor: who("sam"),
        channel: None,
        mode: contracts::plan::Mode::Autonomous,
        signals: BTreeSet::new(),
        flow: PlanFlow::default(),
        steps: plan
            .steps
            .iter()
            .map(|step| (step.id.clone(), step_facts(step, !step.has_bindings())))
            .collect(),
    }
}

pub fn step_facts(step: &PlanStep, inputs_known: bool) -> StepFacts {
    StepFacts {
        uses: step.uses.clone(),
        action: step.action.clone(),
        publisher: "acme".to_owned(),
        effect: Effect::Write,
        declared_risk: DeclaredRisk::Low,
        labels: BTreeSet::new(),
        uses_secrets: step.uses_secrets(),
        inputs_known,
        amount: None,
        signals: BTreeSet::new(),
    }
}
