//! `controlPlane.execution.start`, `.approve`, `.reject`, `.cancel`.

use contracts::{
    event::Event,
    events::executor::CompletionOutcome,
    ids::{ExecutionId, RunId, StepId},
    operations::execution::{
        ApproveInput, ApproveOutput, CancelInput, CancelOutput, RejectInput, RejectOutput,
        StartInput, StartOutput,
    },
    plan::Status,
    problem::{Code, Problem},
    subject::AggregateId,
    time::Timestamp,
};
use domain::execution::{
    Block, Execution, Known,
    intake::{self, Ballot, Decision, Rejection},
};

use crate::{
    api::Call,
    commit::{Done, History},
    outcome::Outcome,
    refusal::Rejected,
};

pub(crate) async fn start(call: &Call<'_>, input: StartInput) -> Result<StartOutput, Problem> {
    let done = decided(call, input.execution_id, |known, now| {
        intake::start(known, input.plan_id, input.mode, call.actor(), now)
    })
    .await?;
    let mut history = done.history;
    let aggregate = aggregate(call, input.execution_id);
    call.outcome(&mut history, &aggregate, started).await
}

struct Begun {
    run_id: RunId,
    at: Timestamp,
}

/// The last run, or the end of an execution that is only observed.
fn begun(history: &History<Execution>) -> Option<Begun> {
    history.last(|event| {
        if let Event::ExecutionStarted(started) = event {
            Some(Begun {
                run_id: started.run_id,
                at: started.started_at,
            })
        } else if let Event::ExecutionCompleted(completed) = event {
            let observed = completed.outcome == Some(CompletionOutcome::Observed);
            observed.then_some(Begun {
                run_id: completed.run_id,
                at: completed.completed_at,
            })
        } else {
            None
        }
    })
}

fn started(history: &History<Execution>) -> Outcome<StartOutput> {
    let known = match &history.state {
        Execution::Known(known) => known,
        Execution::Corrupt(_) => return Some(Err(Rejection::Corrupt.problem())),
        Execution::NeverReceived => return None,
    };
    let begun = begun(history);
    // A run that failed may be followed by another, which is the one to wait for.
    let runs = known.run_id() == begun.as_ref().map(|run| run.run_id) && !awaits_run(known);
    match begun {
        Some(Begun { run_id, at, .. }) if runs => Some(Ok(StartOutput {
            run_id,
            status: known.status(),
            started_at: at,
            plan_hash: known.compiled().map(|compiled| compiled.deterministic_hash),
            position: Some(history.position()),
        })),
        Some(_) | None if known.is_ended() || known.stop.is_some() => {
            Some(Err(Rejection::Ended(known.status()).problem()))
        }
        Some(_) | None => None,
    }
}

fn awaits_run(known: &Known) -> bool {
    known.status() == Status::Verified
}

pub(crate) async fn approve(
    call: &Call<'_>,
    input: ApproveInput,
) -> Result<ApproveOutput, Problem> {
    let ballot = Ballot {
        step: input.step_id.clone(),
        block: input.block_id,
        by: call.acting(Some(&input.approved_by))?,
        plan_hash: input.plan_hash,
        inputs_digest: input.inputs_digest,
    };
    let note = input.note.as_deref();
    let done = decided(call, input.execution_id, |known, now| {
        intake::approve(known, &ballot, note, now)
    })
    .await?;
    // Counted now or before: the vote stands either way.
    let vote = done.history.last(|event| {
        let Event::ExecutionApproved(vote) = event else {
            return None;
        };
        let is_it = vote.step_id == input.step_id
            && vote.by.person() == ballot.by.person()
            && input.block_id.is_none_or(|block| block == vote.block_id);
        is_it.then_some((vote.approved_at, vote.block_id))
    });
    let (approved_at, block_id) = vote.ok_or_else(unrecorded)?;
    Ok(ApproveOutput {
        execution_id: input.execution_id,
        plan_hash: block(&done.history, &input.step_id).map(|block| block.opened.plan_hash),
        step_id: input.step_id,
        status: status(&done.history),
        approved_at,
        block_id: Some(block_id),
        position: Some(done.history.position()),
    })
}

pub(crate) async fn reject(call: &Call<'_>, input: RejectInput) -> Result<RejectOutput, Problem> {
    let ballot = Ballot {
        step: input.step_id.clone(),
        block: input.block_id,
        by: call.acting(Some(&input.rejected_by))?,
        plan_hash: input.plan_hash,
        inputs_digest: input.inputs_digest,
    };
    let done = decided(call, input.execution_id, |known, now| {
        intake::reject(known, &ballot, &input.reason, now)
    })
    .await?;
    let vote = done.history.last(|event| {
        let Event::ExecutionRejected(vote) = event else {
            return None;
        };
        (vote.step_id == input.step_id).then_some((vote.rejected_at, vote.block_id))
    });
    let (rejected_at, block_id) = vote.ok_or_else(unrecorded)?;
    Ok(RejectOutput {
        execution_id: input.execution_id,
        plan_hash: block(&done.history, &input.step_id).map(|block| block.opened.plan_hash),
        step_id: input.step_id,
        status: status(&done.history),
        rejected_at,
        block_id: Some(block_id),
        position: Some(done.history.position()),
    })
}

pub(crate) async fn cancel(call: &Call<'_>, input: CancelInput) -> Result<CancelOutput, Problem> {
    let by = call.acting(Some(&input.cancelled_by))?;
    let reason = input.reason.as_deref();
    let done = decided(call, input.execution_id, |known, now| {
        intake::cancel(known, &by, reason, now)
    })
    .await?;
    let requested = done.history.last(|event| {
        if let Event::CancelRequested(request) = event {
            Some(request.requested_at)
        } else {
            None
        }
    });
    Ok(CancelOutput {
        execution_id: input.execution_id,
        status: status(&done.history),
        cancelled_at: requested.ok_or_else(unrecorded)?,
        position: Some(done.history.position()),
    })
}

pub(crate) async fn decided<D>(
    call: &Call<'_>,
    id: ExecutionId,
    decide: D,
) -> Result<Done<Execution>, Problem>
where
    D: Fn(&Known, Timestamp) -> Decision,
{
    decided_on(call, id, |state, now| {
        intake::existing(state, id).and_then(|known| decide(known, now))
    })
    .await
}

pub(crate) async fn decided_on<D>(
    call: &Call<'_>,
    id: ExecutionId,
    decide: D,
) -> Result<Done<Execution>, Problem>
where
    D: Fn(&Execution, Timestamp) -> Decision,
{
    let aggregate = aggregate(call, id);
    let decide =
        |history: &History<Execution>, now| decide(&history.state, now).map_err(Rejected::problem);
    call.carry_out(&aggregate, decide).await
}

fn aggregate(call: &Call<'_>, id: ExecutionId) -> AggregateId {
    AggregateId::execution(call.principal.workspace.clone(), id)
}

fn block<'a>(history: &'a History<Execution>, step: &StepId) -> Option<&'a Block> {
    history.state.known()?.steps()?.get(step)?.block.as_ref()
}

pub(crate) fn status(history: &History<Execution>) -> Status {
    history.state.status().unwrap_or(Status::Received)
}

/// What the fold knows, its events must show.
pub(crate) fn unrecorded() -> Problem {
    Problem::new(
        Code::Internal,
        "the events do not show what their fold says",
    )
}
