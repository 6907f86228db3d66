//! The starts of a step's attempts: allowed, judged, approved, and one after the other.

use contracts::{
    canonical::Digest,
    events::executor::StepStarted,
    ids::StepId,
    plan::{Mode, RiskTier, Verdict},
    record::Recorded,
};

use super::{
    Books,
    execution::Execution,
    rule::{Check, Rule, broken, ensure},
    step::{Attempt, State, Step},
};

impl Execution {
    pub(super) fn step_started(
        &mut self,
        recorded: &Recorded,
        event: &StepStarted,
        books: &mut Books,
    ) -> Check {
        let id = &event.step_id;
        let seen = books.catalogue.before(self.decided.facts_since());
        let what = || format!("attempt {} of step `{id}`", event.attempt);
        books.catalogue.is_fresh(event.catalogue, seen, what)?;
        let Some(step) = self.steps.get(id) else {
            return broken(
                Rule::OtherThanPlanned,
                format!("the plan has no step `{id}`"),
            );
        };
        let last = step
            .attempts
            .last_key_value()
            .map_or(0, |(number, _)| *number);
        ensure(event.attempt == last + 1, Rule::AttemptNumbers, || {
            format!("attempt {} of step `{id}` follows {last}", event.attempt)
        })?;
        ensure(event.pin == step.uses, Rule::OtherThanPlanned, || {
            format!(
                "step `{id}` was started with `{}`, not `{}`",
                event.pin, step.uses
            )
        })?;
        let timeout_at = event.started_at.plus_ms(step.timeout_ms);
        ensure(
            event.timeout_at == timeout_at,
            Rule::OtherThanPlanned,
            || {
                format!(
                    "step `{id}` is waited for until {}, not {timeout_at}",
                    event.timeout_at
                )
            },
        )?;
        if event.takeover {
            takes_over(step, event, books)?;
        } else {
            self.is_ready(step, event)?;
            self.is_judged(id, event.inputs_digest, event.catalogue, books)?;
            self.is_permitted(step, event)?;
        }
        let wake = recorded.attributes.causation;
        ensure(
            books.has_received(event.owner, wake),
            Rule::StartUncaused,
            || format!("attempt {} of step `{id}` names {wake:?}", event.attempt),
        )?;
        books.has_own_key(self.id, event)?;
        let step = self.step(id)?;
        ensure(
            step.key.is_none_or(|key| key == event.idempotency_key),
            Rule::IdempotencyKey,
            || format!("attempt {} of step `{id}` has another key", event.attempt),
        )?;
        step.key = Some(event.idempotency_key);
        if let Some(before) = step.attempts.get_mut(&last)
            && event.takeover
        {
            before.taken_over(books.now);
        }
        if !event.takeover {
            step.tries += 1;
        }
        step.state = State::Started(event.attempt);
        let attempt = Attempt::started(event, wake, books.now);
        step.attempts.insert(event.attempt, attempt);
        Ok(())
    }

    fn is_ready(&self, step: &Step, event: &StepStarted) -> Check {
        let id = &event.step_id;
        let ready = step.is_waiting() && self.has_what_it_needs(step);
        ensure(ready, Rule::StartUnready, || {
            format!("step `{id}` was started at {:?}", step.state)
        })?;
        let early = step.not_before.filter(|at| event.started_at < *at);
        ensure(early.is_none(), Rule::StartEarly, || {
            format!(
                "step `{id}` was tried again at {}, before {early:?}",
                event.started_at
            )
        })
    }

    /// The second verdict where there must be one, on these inputs, under the policy that was
    /// active at the position that the start, or the block, names; and a skill that is enabled.
    pub(super) fn is_judged(
        &self,
        id: &StepId,
        inputs_digest: Digest,
        catalogue: u64,
        books: &Books,
    ) -> Check {
        let Some(step) = self.steps.get(id) else {
            return broken(
                Rule::OtherThanPlanned,
                format!("the plan has no step `{id}`"),
            );
        };
        let facts = books
            .catalogue
            .facts(self.aggregate.workspace(), &step.uses, catalogue);
        ensure(facts.enabled, Rule::SkillDisabled, || {
            format!(
                "step `{id}` goes on with `{}` at position {catalogue}",
                step.uses
            )
        })?;
        if let Some(planned) = step.inputs_digest {
            ensure(planned == inputs_digest, Rule::OtherThanPlanned, || {
                format!("step `{id}` goes on with inputs {inputs_digest}, not {planned}")
            })?;
        }
        let plan = self.verdict.as_ref();
        let (policy, inputs_known) = if let Some(judgement) = &step.judgement {
            (judgement.policy, judgement.inputs_digest == inputs_digest)
        } else {
            let planned = plan.and_then(|plan| plan.steps.get(id));
            let dynamic = planned.is_none_or(|planned| planned.dynamic);
            let policy = plan.and_then(|plan| plan.policy);
            (policy, !step.is_bound && !dynamic)
        };
        ensure(inputs_known, Rule::Unjudged, || {
            format!("no verdict on step `{id}` is on the inputs {inputs_digest}")
        })?;
        let active = facts.policy;
        ensure(policy == active, Rule::Unjudged, || {
            format!(
                "step `{id}` was judged under {policy:?}, and {active:?} was active at position {catalogue}"
            )
        })
    }

    /// What policy and people said.
    fn is_permitted(&self, step: &Step, event: &StepStarted) -> Check {
        let id = &event.step_id;
        let Some(verdict) = self.verdict_on(id, step) else {
            return broken(
                Rule::Unjudged,
                format!("there is no verdict on step `{id}`"),
            );
        };
        let refused = verdict.verdict == Verdict::Blocked || verdict.tier >= RiskTier::Blocked;
        ensure(!refused, Rule::StartBlocked, || {
            format!(
                "step `{id}` was started on {:?}, tier {:?}",
                verdict.verdict, verdict.tier
            )
        })?;
        let by_people = verdict.verdict == Verdict::Assist
            || verdict.tier >= RiskTier::High
            || self.run_mode == Mode::Assist;
        if !by_people {
            return Ok(());
        }
        let Some(block) = &step.block else {
            return broken(
                Rule::StartUnapproved,
                format!("nobody was asked about step `{id}`"),
            );
        };
        let votes = block.approved.len() as u64;
        let quorum = u64::from(block.rule.quorum.max(1));
        ensure(votes >= quorum, Rule::StartUnapproved, || {
            format!("step `{id}` has {votes} of {quorum} approvals")
        })?;
        let plan = self.plan.as_ref().map(|plan| plan.hash);
        let high = verdict.tier >= RiskTier::High;
        let same = block.inputs_digest == event.inputs_digest
            && Some(block.plan_hash) == plan
            && block.tier == verdict.tier
            && verdict
                .approval
                .as_ref()
                .is_none_or(|rule| *rule == block.rule)
            && (block.rule.plan_hash_required || !high);
        ensure(same, Rule::StartUnapproved, || {
            format!("the approval of step `{id}` is of another rule, tier, plan or inputs")
        })
    }
}

fn takes_over(step: &Step, event: &StepStarted, books: &Books) -> Check {
    let id = &event.step_id;
    let before = match step.state {
        State::Started(number) if !step.is_wait() => step.attempts.get(&number),
        State::Started(_)
        | State::Waiting
        | State::Accepted(_)
        | State::Completed
        | State::Failed
        | State::Skipped => None,
    };
    let Some(before) = before else {
        return broken(
            Rule::TakeoverOfNothing,
            format!("step `{id}` was taken over at {:?}", step.state),
        );
    };
    ensure(
        before.inputs_digest == event.inputs_digest,
        Rule::OtherThanPlanned,
        || format!("the takeover of step `{id}` has other inputs"),
    )?;
    ensure(
        event.started_at < before.timeout_at,
        Rule::TakeoverTooLate,
        || {
            let (at, timeout_at) = (event.started_at, before.timeout_at);
            format!(
                "attempt {} of step `{id}` is taken at {at}, and its time was out at {timeout_at}",
                event.attempt
            )
        },
    )?;
    if before.owner == event.owner {
        return ensure(before.dispatched == 0, Rule::TakeoverFromItself, || {
            format!(
                "attempt {} of step `{id}` follows one that is under way",
                event.attempt
            )
        });
    }
    ensure(
        books.has_received(event.owner, before.wake),
        Rule::TakeoverByForeignWake,
        || {
            format!(
                "attempt {} of step `{id}` is by {}, who never had {:?}",
                event.attempt, event.owner, before.wake
            )
        },
    )
}
