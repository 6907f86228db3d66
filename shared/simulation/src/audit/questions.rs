//! What is asked about a step before it starts: of policy, and of people.

use std::collections::BTreeSet;

use contracts::{
    events::{
        executor::{StepBlocked, StepProposed},
        verifier::StepJudged,
    },
    facts::{StepVerdict, facts_digest},
    ids::StepId,
    plan::{Mode, RiskTier, Verdict},
};

use super::{
    Books,
    execution::Execution,
    planning::is_strict_enough,
    rule::{Check, Rule, broken, ensure},
    step::{Block, Judgement, Proposal, State},
};

impl Execution {
    pub(super) fn proposed(&mut self, version: u64, event: &StepProposed, books: &Books) -> Check {
        self.may_go_on(&event.step_id, event.catalogue, books)?;
        let digest = facts_digest(&event.inputs);
        ensure(
            digest == event.inputs_digest,
            Rule::OtherThanPlanned,
            || {
                format!(
                    "the inputs proposed have the digest {digest}, not {}",
                    event.inputs_digest
                )
            },
        )?;
        self.step(&event.step_id)?.proposal = Some(Proposal {
            version,
            inputs_digest: digest,
            asked: books.asked_at(),
        });
        Ok(())
    }

    /// Waits, has what it needs, and was decided on facts that are fresh.
    fn may_go_on(&mut self, id: &StepId, catalogue: u64, books: &Books) -> Check {
        let least = books.catalogue.before(self.decided.facts_since());
        let what = || format!("what was decided on step `{id}`");
        books.catalogue.is_fresh(catalogue, least, what)?;
        let step = self.step(id)?;
        let (waits, state) = (step.is_waiting(), step.state);
        ensure(waits, Rule::OutOfTurn, || {
            format!("step `{id}` is proposed or blocked while it does not wait: {state:?}")
        })?;
        let ready = self
            .steps
            .get(id)
            .is_some_and(|step| self.has_what_it_needs(step));
        ensure(ready, Rule::StartUnready, || {
            format!("step `{id}` is asked about before what it needs is done")
        })
    }

    pub(super) fn judged(&mut self, event: &StepJudged, books: &Books) -> Check {
        let workspace = self.aggregate.workspace().clone();
        let id = &event.step_id;
        let step = self.step(id)?;
        let Some(proposal) = step.proposal.take() else {
            return broken(Rule::JudgedUnasked, format!("step `{id}` was not proposed"));
        };
        let answers =
            event.answers == proposal.version && event.inputs_digest == proposal.inputs_digest;
        ensure(answers, Rule::JudgedUnasked, || {
            format!(
                "version {} of step `{id}` was answered, and {} was asked, with inputs {}",
                event.answers, proposal.version, proposal.inputs_digest
            )
        })?;
        books
            .catalogue
            .is_fresh(event.catalogue, proposal.asked, || {
                format!("`execution.step.judged` on step `{id}`")
            })?;
        let policy = event.policy_version;
        books
            .catalogue
            .names_policy(&workspace, event.catalogue, policy)?;
        let least = books
            .catalogue
            .declared(&workspace, &step.uses, &step.action)?;
        is_strict_enough(&event.verdict, least)?;
        step.judgement = Some(Judgement {
            inputs_digest: event.inputs_digest,
            policy,
            verdict: event.verdict.clone(),
        });
        Ok(())
    }

    pub(super) fn blocked(&mut self, event: &StepBlocked, books: &Books) -> Check {
        let id = &event.step_id;
        self.may_go_on(id, event.catalogue, books)?;
        let plan_hash = self.plan.as_ref().map(|plan| plan.hash);
        ensure(
            plan_hash == Some(event.plan_hash),
            Rule::OtherThanPlanned,
            || {
                format!(
                    "step `{id}` is blocked for plan {}, not {plan_hash:?}",
                    event.plan_hash
                )
            },
        )?;
        self.is_judged(id, event.inputs_digest, event.catalogue, books)?;
        let step = self.steps.get(id);
        let Some(verdict) = step.and_then(|step| self.verdict_on(id, step)) else {
            return broken(
                Rule::Unjudged,
                format!("step `{id}` is blocked without a verdict"),
            );
        };
        self.asks_for(event, verdict)?;
        let block = Block {
            id: event.block_id,
            rule: event.approval.clone(),
            plan_hash: event.plan_hash,
            inputs_digest: event.inputs_digest,
            tier: verdict.tier,
            expires_at: event.expires_at,
            approved: BTreeSet::new(),
        };
        let step = self.step(id)?;
        step.state = State::Waiting;
        step.block = Some(block);
        Ok(())
    }

    fn asks_for(&self, event: &StepBlocked, verdict: &StepVerdict) -> Check {
        let (id, rule, tier) = (&event.step_id, &event.approval, verdict.tier);
        let asks = match verdict.verdict {
            Verdict::Assist => true,
            Verdict::Autonomous => self.run_mode == Mode::Assist,
            Verdict::Blocked => false,
        };
        let same = verdict.approval.as_ref().is_none_or(|asked| asked == rule);
        let enough = rule.quorum > 0 && !rule.eligible.is_empty();
        let sees_plan = rule.plan_hash_required || tier < RiskTier::High;
        let so_long = event.expires_at == event.blocked_at.plus_ms(rule.expires_after_ms);
        ensure(
            asks && same && enough && sees_plan && so_long,
            Rule::BlockUnlikeVerdict,
            || {
                format!(
                    "step `{id}`, {:?} at tier {tier:?}, waits until {} for {rule:?}; asked for is {:?}",
                    verdict.verdict, event.expires_at, verdict.approval
                )
            },
        )
    }
}
