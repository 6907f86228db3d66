//! How an execution stops, ends, and is tried again.

use contracts::{
    events::executor::{
        CompletionOutcome, ExecutionCompleted, ExecutionFailed, ExecutionStopping, FailureCode,
    },
    ids::{RunId, StepId},
    plan::{Mode, Start, Verdict},
    record::Recorded,
    time::Timestamp,
};

use super::{
    Books,
    execution::{End, Execution, Stage},
    rule::{Check, Rule, ensure},
    step::Step,
};

/// `design.md` §3: a manual start has a start deadline of seven days.
const START_EXPIRES_AFTER_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// Why the executor says that an execution stops.
struct Reason<'a> {
    code: FailureCode,
    step: Option<&'a StepId>,
    catalogue: Option<u64>,
    time: Timestamp,
}

impl Execution {
    pub(super) fn stopping(
        &mut self,
        recorded: &Recorded,
        event: &ExecutionStopping,
        books: &Books,
    ) -> Check {
        let of_run = self.stage == Stage::Running && event.run_id == Some(self.run());
        ensure(of_run && self.is_under_way(), Rule::OutOfTurn, || {
            format!("it stops at {:?}, for run {:?}", self.stage, event.run_id)
        })?;
        let reason = Reason {
            code: event.code,
            step: event.step_id.as_ref(),
            catalogue: event.catalogue,
            time: recorded.time(),
        };
        self.holds(&reason, books)?;
        self.stop = Some(event.code);
        Ok(())
    }

    pub(super) fn completed(&mut self, event: &ExecutionCompleted) -> Check {
        let observed = event.outcome == Some(CompletionOutcome::Observed);
        let run = RunId {
            execution: self.id,
            number: self.runs + u32::from(observed),
        };
        ensure(event.run_id == run, Rule::OtherRun, || {
            format!("run {} was completed, and {run} is under way", event.run_id)
        })?;
        let permitted = if observed {
            let verdict = self.verdict.as_ref().map(|verdict| verdict.verdict);
            self.stage == Stage::Verified
                && self.wanted.unwrap_or(self.mode) == Mode::Observe
                && verdict.is_some_and(|verdict| verdict != Verdict::Blocked)
        } else {
            self.stage == Stage::Running
        };
        ensure(permitted, Rule::OutOfTurn, || {
            format!("run {} was completed at {:?}", event.run_id, self.stage)
        })?;
        let undone = self.steps.iter().find(|(_, step)| !step.is_done());
        ensure(observed || undone.is_none(), Rule::EndedUnderWay, || {
            let id = undone.map(|(id, _)| id.as_str()).unwrap_or_default();
            format!("it was completed, and step `{id}` is not")
        })?;
        self.stage = Stage::Ended(End::Completed);
        Ok(())
    }

    pub(super) fn failed(
        &mut self,
        recorded: &Recorded,
        event: &ExecutionFailed,
        books: &Books,
    ) -> Check {
        let running = self.stage == Stage::Running;
        let run = running.then(|| self.run());
        ensure(event.run_id == run, Rule::OtherRun, || {
            format!("run {:?} failed, and {run:?} is under way", event.run_id)
        })?;
        ensure(!self.is_under_way(), Rule::EndedUnderWay, || {
            "it failed while an attempt is under way".to_owned()
        })?;
        let code = event.error_code;
        if let Some(stop) = self.stop {
            ensure(code == stop, Rule::Reason, || {
                format!(
                    "it failed with {} after a stop for {}",
                    code.as_str(),
                    stop.as_str()
                )
            })?;
        } else {
            let reason = Reason {
                code,
                step: event.step_id.as_ref(),
                catalogue: event.catalogue,
                time: recorded.time(),
            };
            self.holds(&reason, books)?;
        }
        self.stage = Stage::Ended(End::Failed(code));
        Ok(())
    }

    fn is_under_way(&self) -> bool {
        self.steps.values().any(|step| step.under_way().is_some())
    }

    /// Whether the executor may stop an execution for this reason, on what is stored.
    fn holds(&self, reason: &Reason<'_>, books: &Books) -> Check {
        if let Some(named) = reason.catalogue {
            let least = books.catalogue.before(self.decided.facts_since());
            let what = || format!("a stop for {}", reason.code.as_str());
            books.catalogue.is_fresh(named, least, what)?;
        }
        let id = reason.step;
        let step = id.and_then(|id| self.steps.get(id));
        let holds = match reason.code {
            // People decide these, and their event stops it.
            FailureCode::Cancelled | FailureCode::ApprovalRejected => false,
            FailureCode::ApprovalExpired => step
                .and_then(Step::open_block)
                .is_some_and(|block| reason.time >= block.expires_at),
            FailureCode::PolicyBlocked => id.zip(step).is_some_and(|(id, step)| {
                let verdict = self.verdict_on(id, step);
                verdict.is_none_or(|verdict| verdict.verdict == Verdict::Blocked)
            }),
            // A step that failed for good stops it by itself; here its inputs cannot be made.
            FailureCode::StepFailed => step.is_some_and(|step| step.is_bound && step.is_waiting()),
            FailureCode::SkillUnavailable => {
                step.zip(reason.catalogue).is_some_and(|(step, sequence)| {
                    let workspace = self.aggregate.workspace();
                    !books.catalogue.enabled(workspace, &step.uses, sequence)
                })
            }
            // What was reported is taken first.
            FailureCode::DeadlineExceeded => {
                let is_reported = self.steps.values().any(|step| step.is_reported);
                !is_reported && self.deadlines().any(|due| reason.time >= due)
            }
        };
        let due = match reason.code {
            FailureCode::ApprovalExpired => step
                .and_then(Step::open_block)
                .map(|block| block.expires_at),
            FailureCode::DeadlineExceeded => self.deadlines().min(),
            FailureCode::Cancelled
            | FailureCode::ApprovalRejected
            | FailureCode::PolicyBlocked
            | FailureCode::StepFailed
            | FailureCode::SkillUnavailable => None,
        };
        books.is_over(due)?;
        ensure(holds, Rule::Reason, || {
            let (code, time) = (reason.code.as_str(), reason.time);
            let step = id.map(StepId::as_str).unwrap_or_default();
            format!("it stops for {code} at {time}, step `{step}`, and nothing says so")
        })
    }

    fn deadlines(&self) -> impl Iterator<Item = Timestamp> {
        let by_hand =
            self.stage == Stage::Verified && self.start == Start::Manual && self.wanted.is_none();
        let verdict = self.verdict.as_ref().filter(|_| by_hand);
        let start = verdict.map(|verdict| verdict.verified_at.plus_ms(START_EXPIRES_AFTER_MS));
        self.deadline.into_iter().chain(start)
    }

    /// Completed effects stay; everything else begins anew, and attempts count on.
    pub(super) fn retried(&mut self, recorded: &Recorded, run: RunId) -> Check {
        let permitted = if let Stage::Ended(End::Failed(code)) = self.stage {
            code.may_retry() && self.runs > 0
        } else {
            false
        };
        ensure(permitted, Rule::AfterTheEnd, || {
            format!("a retry follows {:?} after {} runs", self.stage, self.runs)
        })?;
        for step in self.steps.values_mut() {
            step.begin_anew();
        }
        // Who asks for a retry after the deadline sets it aside.
        self.deadline = self.deadline.filter(|at| recorded.time() < *at);
        self.wanted = Some(self.run_mode);
        self.stop = None;
        self.paused = false;
        self.retries.insert(run.number);
        self.stage = Stage::Verified;
        Ok(())
    }
}
