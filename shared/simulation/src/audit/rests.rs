//! What an execution waits for while nobody is at work on it.

use std::collections::BTreeSet;

use contracts::{
    ids::{ExecutionId, StepId},
    plan::{Start, Verdict},
    time::Timestamp,
};

use super::{
    Auditor,
    execution::{Execution, Stage},
    rule::{Check, Rule, broken, ensure},
    step::{State, Step},
};

impl Auditor {
    /// No message is pending for an execution, and these are the timers that are armed: one of
    /// them for everything that it waits for.
    pub fn rests(&mut self, at: Timestamp, execution: ExecutionId, timers: &BTreeSet<String>) {
        self.check(at, Some(execution), |auditor| {
            let rests = auditor.executions.get(&execution);
            rests.map_or(Ok(()), |rests| rests.has_timers(timers))
        });
    }
}

impl Execution {
    fn has_timers(&self, timers: &BTreeSet<String>) -> Check {
        let waits_for = self.waits_for()?;
        let missing: Vec<_> = waits_for.difference(timers).cloned().collect();
        ensure(missing.is_empty(), Rule::Parked, || {
            format!(
                "nothing is pending, and no timer `{}`",
                missing.join("`, `")
            )
        })?;
        // A pause waits for people.
        ensure(self.paused || !waits_for.is_empty(), Rule::Parked, || {
            format!(
                "nothing is pending, and nothing is waited for at {:?}",
                self.stage
            )
        })
    }

    /// The timers that it cannot be without.
    fn waits_for(&self) -> Check<BTreeSet<String>> {
        let mut waits_for = BTreeSet::new();
        match self.stage {
            Stage::AwaitingDraft { .. } => {
                waits_for.insert("draft".to_owned());
            }
            Stage::Verified if self.is_to_be_started_by_hand() => {
                waits_for.insert("start".to_owned());
            }
            Stage::Running => {
                for (id, step) in &self.steps {
                    waits_for.extend(self.waits_for_step(id, step)?);
                }
            }
            // It is some service's turn, and that one has no message.
            Stage::Received { .. }
            | Stage::Drafted { .. }
            | Stage::DraftRefused
            | Stage::Compiled { .. }
            | Stage::Verified
            | Stage::Ended(_) => return Ok(waits_for),
        }
        if self.deadline.is_some() && self.stop.is_none() {
            waits_for.insert("deadline".to_owned());
        }
        Ok(waits_for)
    }

    fn is_to_be_started_by_hand(&self) -> bool {
        let verdict = self.verdict.as_ref().map(|verdict| verdict.verdict);
        self.start == Start::Manual
            && self.wanted.is_none()
            && self.stop.is_none()
            && verdict != Some(Verdict::Blocked)
    }

    fn waits_for_step(&self, id: &StepId, step: &Step) -> Check<Option<String>> {
        let stops = self.stop.is_some();
        match step.state {
            State::Started(_) if step.is_wait() && !stops => Ok(Some(format!("elapsed-{id}"))),
            // Who is at work on it has a message; if nobody is, its time must come to an end.
            State::Started(number) => Ok(Some(format!("left-{id}-{number}"))),
            State::Accepted(_) => Ok(Some(format!("accepted-{id}"))),
            State::Waiting if stops => Ok(None),
            // Also in a pause: who may still vote may also be too late.
            State::Waiting if step.open_block().is_some() => Ok(Some(format!("approval-{id}"))),
            State::Waiting if self.paused => Ok(None),
            State::Waiting if step.proposal.is_some() => broken(
                Rule::Parked,
                format!("nothing is pending, and step `{id}` waits for its verdict"),
            ),
            State::Waiting if step.not_before.is_some() => Ok(Some(format!("retry-{id}"))),
            State::Waiting if self.has_what_it_needs(step) => broken(
                Rule::Parked,
                format!("nothing is pending, and step `{id}` may start"),
            ),
            State::Waiting | State::Completed | State::Failed | State::Skipped => Ok(None),
        }
    }
}
