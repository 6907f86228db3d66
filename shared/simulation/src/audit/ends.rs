//! The ends of a step's attempts, as they are recorded.

use contracts::{
    events::executor::{FailureCode, StepAccepted, StepCompleted, StepFailed},
    facts::facts_digest,
    ids::StepId,
};

use super::{
    Books,
    execution::Execution,
    rule::{Check, Rule, broken, ensure},
    step::{End, State, Step},
};

impl Execution {
    pub(super) fn accepted(&mut self, event: &StepAccepted) -> Check {
        let id = &event.step_id;
        let step = self.step(id)?;
        let state = step.state;
        ensure(
            state == State::Started(event.attempt),
            Rule::OutOfTurn,
            || {
                format!(
                    "attempt {} of step `{id}` was accepted at {state:?}",
                    event.attempt
                )
            },
        )?;
        step.state = State::Accepted(event.attempt);
        attempt(step, id, event.attempt)?.timeout_at = event.expires_at;
        Ok(())
    }

    pub(super) fn reported(&mut self, id: &StepId) -> Check {
        let step = self.step(id)?;
        let (state, was_started) = (step.state, !step.attempts.is_empty());
        let ended = matches!(state, State::Completed | State::Failed | State::Skipped);
        ensure(was_started && !ended, Rule::OutOfTurn, || {
            format!("step `{id}` was reported at {state:?}")
        })?;
        step.reports += 1;
        step.is_reported = true;
        Ok(())
    }

    pub(super) fn skipped(&mut self, id: &StepId) -> Check {
        let step = self.step(id)?;
        let state = step.state;
        ensure(state == State::Waiting, Rule::OutOfTurn, || {
            format!("step `{id}` was skipped at {state:?}")
        })?;
        step.state = State::Skipped;
        Ok(())
    }

    /// The first success counts, whichever attempt brought it, also while the step waits to be
    /// tried again.
    pub(super) fn step_completed(&mut self, event: &StepCompleted, books: &Books) -> Check {
        let (id, number) = (&event.step_id, event.attempt);
        let step = self.step(id)?;
        let state = step.state;
        let ended = matches!(state, State::Completed | State::Failed | State::Skipped);
        ensure(!ended, Rule::OneEnd, || {
            format!("attempt {number} of step `{id}` was completed at {state:?}")
        })?;
        let digest = facts_digest(&event.output);
        ensure(
            digest == event.output_digest,
            Rule::OtherThanPlanned,
            || {
                format!(
                    "the output of step `{id}` has the digest {digest}, not {}",
                    event.output_digest
                )
            },
        )?;
        let done = !step.is_workers() || step.attempts.values().any(|it| it.effects > 0);
        attempt(step, id, number)?.ended(End::Completed, books.now);
        ensure(done, Rule::CompletedWithoutEffect, || {
            format!("step `{id}` was completed, and no worker did it")
        })?;
        step.state = State::Completed;
        step.proposal = None;
        step.is_reported = false;
        Ok(())
    }

    pub(super) fn step_failed(&mut self, event: &StepFailed, books: &Books) -> Check {
        let is_stopping = self.stop.is_some();
        let (id, number) = (&event.step_id, event.attempt);
        let step = self.step(id)?;
        let under_way = step.under_way();
        let ended = attempt(step, id, number)?;
        if event.error_code == "TIMEOUT" {
            books.is_over(Some(ended.timeout_at))?;
        }
        ended.ended(End::Failed(event.outcome), books.now);
        ensure(!ended.is_done_after_all(), Rule::DoneAfterAll, || {
            format!("attempt {number} of step `{id}` failed as not done, and a worker did it")
        })?;
        ensure(under_way == Some(number), Rule::SupersededFailure, || {
            format!("attempt {number} of step `{id}` failed, and {under_way:?} is under way")
        })?;
        let tried_again = event.next_attempt_at.is_some();
        let left = step.tries < step.retry.max_attempts;
        let again = event.retryable && !is_stopping && left;
        ensure(tried_again == again, Rule::Tries, || {
            format!(
                "after {} of {} tries of step `{id}`, `{}` (retryable: {}) is tried again: {tried_again}",
                step.tries, step.retry.max_attempts, event.error_code, event.retryable
            )
        })?;
        if let Some(at) = event.next_attempt_at {
            let latest = event.failed_at.plus_ms(step.retry.backoff_ms_max);
            let backs_off = event.failed_at <= at && at <= latest;
            ensure(backs_off, Rule::Tries, || {
                let failed_at = event.failed_at;
                format!("step `{id}` failed at {failed_at} and is tried again at {at}")
            })?;
        }
        step.not_before = event.next_attempt_at;
        step.is_reported = false;
        step.state = if tried_again {
            State::Waiting
        } else {
            State::Failed
        };
        if !tried_again && !is_stopping {
            self.stop = Some(FailureCode::StepFailed);
        }
        Ok(())
    }
}

fn attempt<'a>(
    step: &'a mut Step,
    id: &StepId,
    number: u32,
) -> Check<&'a mut super::step::Attempt> {
    match step.attempts.get_mut(&number) {
        Some(attempt) => Ok(attempt),
        None => broken(
            Rule::EndWithoutStart,
            format!("attempt {number} of step `{id}` ended and was never started"),
        ),
    }
}
