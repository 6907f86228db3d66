//! Drafts, plans, and verdicts on them.

use std::collections::BTreeSet;

use contracts::{
    events::{
        intake::{ExecutionStartRequested, PlanVerificationRequested},
        planner::{DraftRequested, PlanCompiled, PlanRejected, RejectionCause},
        verifier::PlanVerified,
    },
    facts::StepVerdict,
    ids::{Pin, PlanId},
    plan::{Mode, RiskTier, Start, Verdict},
    record::Recorded,
};

use super::{
    Books,
    execution::{End, Execution, Plan, PlanVerdict, Stage},
    rule::{Check, Rule, broken, ensure},
    step::Step,
};

/// `design.md` §3: at most five drafts are taken.
const DRAFTS_MAX: u32 = 5;

impl Execution {
    pub(super) fn draft_requested(&mut self, event: &DraftRequested) -> Check {
        let awaited = matches!(self.stage, Stage::Received { .. } | Stage::DraftRefused);
        self.drafts += 1;
        let next = event.attempt == self.drafts && self.drafts <= DRAFTS_MAX;
        ensure(awaited && next, Rule::OutOfTurn, || {
            let (attempt, drafts) = (event.attempt, self.drafts);
            format!(
                "draft {attempt} was asked for at {:?}, as number {drafts}",
                self.stage
            )
        })?;
        self.stage = Stage::AwaitingDraft {
            expires_at: event.expires_at,
        };
        Ok(())
    }

    pub(super) fn drafted(&mut self, recorded: &Recorded, books: &Books) -> Check {
        let Stage::AwaitingDraft { .. } = self.stage else {
            return self.misplaced(recorded);
        };
        self.stage = Stage::Drafted {
            asked: books.asked_at(),
        };
        Ok(())
    }

    pub(super) fn compiled(&mut self, event: &PlanCompiled, books: &Books) -> Check {
        let (Stage::Received { asked } | Stage::Drafted { asked }) = self.stage else {
            return broken(Rule::OutOfTurn, format!("a plan came at {:?}", self.stage));
        };
        books
            .catalogue
            .is_fresh(event.catalogue, asked, || "`plan.compiled`".to_owned())?;
        let hash = event.deterministic_hash;
        let intact =
            event.plan.hash().ok() == Some(hash) && event.plan_id == PlanId::derive(self.id, &hash);
        ensure(intact, Rule::PlanHash, || {
            format!("plan {} is recorded with hash {hash}", event.plan_id)
        })?;
        let pins: BTreeSet<&Pin> = event.plan.steps.iter().map(|step| &step.uses).collect();
        let listed = pins.into_iter().eq(&event.pins)
            && usize::try_from(event.step_count) == Ok(event.plan.steps.len());
        ensure(listed, Rule::OtherThanPlanned, || {
            format!(
                "a plan of {} steps names the pins {:?}",
                event.step_count, event.pins
            )
        })?;
        let workspace = self.aggregate.workspace();
        for step in &event.plan.steps {
            let enabled = books
                .catalogue
                .enabled(workspace, &step.uses, event.catalogue);
            ensure(enabled, Rule::SkillDisabled, || {
                format!("step `{}` was compiled with `{}`", step.id, step.uses)
            })?;
        }
        let steps = event.plan.steps.iter();
        self.steps = steps
            .map(|step| (step.id.clone(), Step::planned(step)))
            .collect();
        self.plan = Some(Plan {
            id: event.plan_id,
            hash,
        });
        self.stage = Stage::Compiled {
            asked: books.asked_at(),
        };
        Ok(())
    }

    /// Each of its causes has its state.
    pub(super) fn plan_rejected(
        &mut self,
        recorded: &Recorded,
        event: &PlanRejected,
        books: &Books,
    ) -> Check {
        match (self.stage, event.cause) {
            (Stage::Received { asked } | Stage::Drafted { asked }, RejectionCause::Compile) => {
                let named = event.catalogue.unwrap_or(0);
                let what = || "`plan.rejected`".to_owned();
                books.catalogue.is_fresh(named, asked, what)?;
            }
            (Stage::AwaitingDraft { expires_at }, RejectionCause::DraftTimeout) => {
                let time = recorded.time();
                ensure(time >= expires_at, Rule::Reason, || {
                    format!("the draft was given up at {time}, before {expires_at}")
                })?;
                books.is_over(Some(expires_at))?;
            }
            (Stage::Verified, RejectionCause::Policy) => {
                let verdict = self.verdict.as_ref().map(|verdict| verdict.verdict);
                ensure(verdict == Some(Verdict::Blocked), Rule::Reason, || {
                    format!("policy rejected a plan with the verdict {verdict:?}")
                })?;
            }
            _ => return self.misplaced(recorded),
        }
        self.stage = if event.is_final {
            Stage::Ended(End::Rejected)
        } else {
            Stage::DraftRefused
        };
        Ok(())
    }

    pub(super) fn verified(&mut self, event: &PlanVerified, books: &Books) -> Check {
        let Stage::Compiled { asked } = self.stage else {
            return broken(
                Rule::OutOfTurn,
                format!("a verdict came at {:?}", self.stage),
            );
        };
        let plan = self.plan.as_ref().map(|plan| plan.id);
        ensure(plan == Some(event.plan_id), Rule::OutOfTurn, || {
            format!(
                "plan {} was judged, and {plan:?} was asked for",
                event.plan_id
            )
        })?;
        books
            .catalogue
            .is_fresh(event.catalogue, asked, || "`plan.verified`".to_owned())?;
        books.catalogue.names_policy(
            self.aggregate.workspace(),
            event.catalogue,
            event.policy_version,
        )?;
        for (id, verdict) in &event.steps {
            let workspace = self.aggregate.workspace();
            if let Some(step) = self.steps.get(id) {
                let catalogue = &books.catalogue;
                let least = catalogue.declared(workspace, &step.uses, &step.action)?;
                is_strict_enough(verdict, least)?;
            }
        }
        let strictest = event.steps.values().map(|step| step.verdict).max();
        let riskiest = event.steps.values().map(|step| step.tier).max();
        let as_strict = event.steps.keys().eq(self.steps.keys())
            && Some(event.verdict) == strictest
            && Some(event.risk_tier) == riskiest
            && event.requires_approval == (event.verdict == Verdict::Assist);
        ensure(as_strict, Rule::VerdictNotStrictest, || {
            format!(
                "the plan is {:?} at tier {:?}, its steps are {strictest:?} at {riskiest:?}",
                event.verdict, event.risk_tier
            )
        })?;
        self.verdicts += 1;
        self.verdict = Some(PlanVerdict {
            verdict: event.verdict,
            steps: event.steps.clone(),
            policy: event.policy_version,
            verified_at: event.verified_at,
        });
        self.stage = Stage::Verified;
        Ok(())
    }

    pub(super) fn asked_again(
        &mut self,
        event: &PlanVerificationRequested,
        books: &Books,
    ) -> Check {
        let plan = self.plan.as_ref().map(|plan| plan.id);
        let waits = self.stage == Stage::Verified && self.wanted.is_none();
        ensure(
            waits && plan == Some(event.plan_id),
            Rule::OutOfTurn,
            || {
                format!(
                    "plan {} is to be judged again at {:?}",
                    event.plan_id, self.stage
                )
            },
        )?;
        self.verdict = None;
        self.stage = Stage::Compiled {
            asked: books.asked_at(),
        };
        Ok(())
    }

    pub(super) fn start_requested(&mut self, event: &ExecutionStartRequested) -> Check {
        let plan = self.plan.as_ref().map(|plan| plan.id);
        let verdict = self.verdict.as_ref().map(|verdict| verdict.verdict);
        let by_hand = self.stage == Stage::Verified
            && self.start == Start::Manual
            && self.mode != Mode::Observe
            && self.wanted.is_none()
            && plan == Some(event.plan_id)
            && verdict != Some(Verdict::Blocked);
        ensure(
            by_hand && event.mode >= self.mode,
            Rule::StartUnpermitted,
            || {
                format!(
                    "a start in mode {:?} was taken at {:?}, on {verdict:?}, of {:?}",
                    event.mode, self.stage, self.mode
                )
            },
        )?;
        self.wanted = Some(event.mode);
        Ok(())
    }
}

/// `least` is what the publisher of its skill says of it.
pub(super) fn is_strict_enough(verdict: &StepVerdict, least: RiskTier) -> Check {
    let tier = verdict.tier;
    let alone = verdict.verdict == Verdict::Autonomous && tier >= RiskTier::High;
    ensure(!alone, Rule::HighAlone, || {
        format!("a step of tier {tier:?} was judged autonomous")
    })?;
    ensure(tier >= least, Rule::TierTooLow, || {
        format!("a step that declares {least:?} was judged {tier:?}")
    })
}
