//! Drafts, plans, and verdicts on them.

use contracts::{
    events::{
        intake::{ExecutionStartRequested, PlanVerificationRequested},
        planner::{DraftRequested, PlanCompiled, PlanRejected, RejectionCause},
        verifier::PlanVerified,
    },
    facts::StepVerdict,
    ids::PlanId,
    plan::{Mode, RiskTier, Start, Verdict},
    record::Recorded,
};

use super::{
    Books,
    execution::{End, Execution, Plan, PlanVerdict, Stage},
    rule::{Check, Rule, broken, ensure},
    step::Step,
};

impl Execution {
    pub(super) fn draft_requested(&mut self, event: &DraftRequested) -> Check {
        let awaited = matches!(self.stage, Stage::Received { .. } | Stage::DraftRefused);
        ensure(awaited, Rule::OutOfTurn, || {
            format!("a draft was asked for at {:?}", self.stage)
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
            asked: books.catalogue.end(),
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
            asked: books.catalogue.end(),
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
        for verdict in event.steps.values() {
            high_is_not_alone(verdict)?;
        }
        let strictest = event.steps.values().map(|step| step.verdict).max();
        let same_steps = event.steps.keys().eq(self.steps.keys());
        let as_strict = same_steps && event.verdict >= strictest.unwrap_or(Verdict::Blocked);
        ensure(as_strict, Rule::VerdictNotStrictest, || {
            format!("the plan is {:?}, a step {strictest:?}", event.verdict)
        })?;
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
            asked: books.catalogue.end(),
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

pub(super) fn high_is_not_alone(verdict: &StepVerdict) -> Check {
    let alone = verdict.verdict == Verdict::Autonomous && verdict.tier >= RiskTier::High;
    ensure(!alone, Rule::HighAlone, || {
        format!("a step of tier {:?} was judged autonomous", verdict.tier)
    })
}
