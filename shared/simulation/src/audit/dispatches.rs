//! What workers saw: requests, and effects.

use contracts::{
    canonical::Digest,
    facts::facts_digest,
    ids::{ActionName, ExecutionId, SkillKey, SkillVersion, StepId},
    time::Timestamp,
};
use serde_json::Value;

use super::{
    Auditor, Books,
    execution::Execution,
    rule::{Check, Rule, broken, ensure},
    step::{Attempt, Step},
};

/// How old the facts of a start may be when it is sent, beside the time that messages take: a
/// second, after which the executor looks again. The instants are whole milliseconds.
const FACTS_AGE_MS_MAX: u64 = 1000 + 2;

/// The messages between such a look and the request: the answer with the last sequence, then the
/// question for what is up to it and the answer to that.
const MESSAGES_SINCE_FACTS: u64 = 3;

/// How long after the broker gave a wake-up away who had it may not know.
const GIVEN_AWAY_MS: u64 = 30_000;

/// A request that was sent to a worker.
#[derive(Debug, Clone, Copy)]
pub struct Dispatch<'a> {
    pub execution: ExecutionId,
    pub step: &'a StepId,
    pub key: Digest,
    pub attempt: u32,
    pub skill: &'a SkillKey,
    pub version: &'a SkillVersion,
    pub action: &'a ActionName,
    pub inputs: &'a Value,
    /// Whether its sender had been paused, or without the log, a moment before.
    pub was_paused: bool,
}

impl Auditor {
    pub(super) fn check_dispatch(&mut self, sent: Timestamp, dispatch: &Dispatch<'_>) -> Check {
        let (id, number) = (dispatch.step, dispatch.attempt);
        let Some(execution) = self.executions.get_mut(&dispatch.execution) else {
            return broken(
                Rule::DispatchWithoutStart,
                "its execution is not in the log",
            );
        };
        is_as_planned(execution, dispatch)?;
        let workspace = execution.aggregate.workspace().clone();
        let step = execution.step(id)?;
        let pin = step.uses.clone();
        let attempt = attempt(step, id, number)?;
        let again = attempt.dispatched > 0;
        attempt.dispatched += 1;
        if again {
            // Who hears that a worker is still at it asks again until the attempt's time is over,
            // under the same key, and does not look at the log in between.
            return ensure(
                attempt.dispatched <= attempt.in_progress + 1,
                Rule::DispatchedTwice,
                || {
                    format!(
                        "attempt {number} of step `{id}` was sent {} times",
                        attempt.dispatched
                    )
                },
            );
        }
        // What `log.md` §7 gives a sender is this: his own `step.started` is stored before he
        // dispatches, and nobody else receives its wake-up while he tells the broker often enough
        // that he is at it. Where the broker gives it to others all the same, he finds out by the
        // log: he looks at it where a second has passed since his decision, and what was stored
        // while the answer was on its way he cannot know.
        let stored_at = attempt.stored_at;
        ensure(sent >= stored_at, Rule::DispatchWithoutStart, || {
            format!("attempt {number} of step `{id}`, sent at {sent}, was stored at {stored_at}")
        })?;
        let given_away = self
            .books
            .delivered_again
            .is_some_and(|at| at <= sent && sent <= at.plus_ms(GIVEN_AWAY_MS));
        let unseen_ms = FACTS_AGE_MS_MAX.max(self.message_ms_max);
        let over = attempt.over_at.filter(|at| {
            let could_know = sent > at.plus_ms(unseen_ms) && !dispatch.was_paused;
            *at < sent && (could_know || !given_away)
        });
        ensure(over.is_none(), Rule::DispatchSuperseded, || {
            let how = if attempt.was_taken_over {
                "was taken over"
            } else {
                "had ended"
            };
            format!("attempt {number} of step `{id}`, sent at {sent}, {how} at {over:?}")
        })?;
        if attempt.is_takeover || dispatch.was_paused {
            // What was allowed when the effect began is not asked again.
            return Ok(());
        }
        let old_after_ms = FACTS_AGE_MS_MAX + MESSAGES_SINCE_FACTS * self.message_ms_max;
        let since = before(sent, old_after_ms);
        let holds =
            self.books
                .catalogue
                .holds_between(&workspace, &pin, attempt.catalogue, (since, sent));
        ensure(holds, Rule::StaleDispatch, || {
            let decided = self
                .books
                .catalogue
                .facts(&workspace, &pin, attempt.catalogue);
            let end = self.books.catalogue.end();
            let now = self.books.catalogue.facts(&workspace, &pin, end);
            format!(
                "attempt {number} of step `{id}` was started at position {} on {decided:?}; \
                 since {since} it is {now:?}",
                attempt.catalogue
            )
        })
    }

    pub(super) fn check_effect(&mut self, id: ExecutionId, step: &StepId, number: u32) -> Check {
        let Some(execution) = self.executions.get_mut(&id) else {
            return broken(Rule::EffectUnasked, "its execution is not in the log");
        };
        let books = execution.step(step)?;
        let Some(attempt) = books.attempts.get_mut(&number) else {
            return broken(
                Rule::EffectUnasked,
                format!("step `{step}` had no attempt {number}"),
            );
        };
        attempt.effects += 1;
        ensure(
            attempt.effects <= attempt.dispatched,
            Rule::EffectUnasked,
            || format!("attempt {number} of step `{step}` was not dispatched"),
        )?;
        ensure(!attempt.is_done_after_all(), Rule::DoneAfterAll, || {
            format!("attempt {number} of step `{step}` had failed as not done")
        })?;
        happens_once(books, step)
    }

    pub(super) fn check_in_progress(&mut self, key: Digest, number: u32) -> Check {
        let Some((id, step)) = self.books.key(key) else {
            return broken(Rule::EffectUnasked, format!("nothing has the key {key}"));
        };
        let Some(execution) = self.executions.get_mut(&id) else {
            return Ok(());
        };
        attempt(execution.step(&step)?, &step, number)?.in_progress += 1;
        Ok(())
    }
}

fn before(instant: Timestamp, ms: u64) -> Timestamp {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    Timestamp::from_millis(instant.as_millis().saturating_sub(ms))
}

fn is_as_planned(execution: &Execution, dispatch: &Dispatch<'_>) -> Check {
    let id = dispatch.step;
    let started = execution
        .steps
        .get(id)
        .and_then(|step| Some((step, step.attempts.get(&dispatch.attempt)?)));
    let Some((step, attempt)) = started else {
        return broken(
            Rule::DispatchWithoutStart,
            format!(
                "attempt {} of step `{id}` is not in the log",
                dispatch.attempt
            ),
        );
    };
    ensure(step.key == Some(dispatch.key), Rule::IdempotencyKey, || {
        format!("step `{id}` was sent with key {}", dispatch.key)
    })?;
    let same_skill = step.uses.key == *dispatch.skill
        && step.uses.version == *dispatch.version
        && step.action == *dispatch.action;
    let inputs = facts_digest(dispatch.inputs);
    ensure(
        same_skill && inputs == attempt.inputs_digest,
        Rule::OtherThanPlanned,
        || {
            format!(
                "step `{id}` was sent to `{}` {} `{}` with inputs {inputs}",
                dispatch.skill, dispatch.version, dispatch.action
            )
        },
    )
}

/// Of all the attempts that had the effect, only the last may be one whose outcome is known: each
/// before it was taken over, or was recorded as unknown, before the next one began.
fn happens_once(step: &Step, id: &StepId) -> Check {
    let mut had = step
        .attempts
        .iter()
        .filter(|(_, attempt)| attempt.effects > 0);
    let Some((last, attempt)) = had.next_back() else {
        return Ok(());
    };
    ensure(attempt.effects == 1, Rule::EffectTwice, || {
        format!(
            "attempt {last} of step `{id}` had {} effects",
            attempt.effects
        )
    })?;
    let known = had.find(|(_, attempt)| attempt.effects > 1 || !attempt.is_unknown());
    ensure(known.is_none(), Rule::EffectTwice, || {
        let before = known.map(|(number, attempt)| (number, attempt.end));
        format!("attempt {last} of step `{id}` had an effect, and so had {before:?}")
    })
}

fn attempt<'a>(step: &'a mut Step, id: &StepId, number: u32) -> Check<&'a mut Attempt> {
    match step.attempts.get_mut(&number) {
        Some(attempt) => Ok(attempt),
        None => broken(
            Rule::DispatchWithoutStart,
            format!("attempt {number} of step `{id}` is not in the log"),
        ),
    }
}

impl Books {
    /// The step whose effect has a key.
    fn key(&self, key: Digest) -> Option<(ExecutionId, StepId)> {
        self.keys.get(&key).cloned()
    }
}
