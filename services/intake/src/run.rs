//! `controlPlane.execution.pause`, `.resume`, `.retry`, `.abort`, `.shutdown`: what is asked of a run
//! by its own id.

use contracts::{
    event::Event,
    ids::{ExecutionId, PrincipalId, RunId},
    operations::{
        execution::{
            AbortInput, AbortOutput, PauseInput, PauseOutput, ResumeInput, ResumeOutput,
            RetryInput, RetryOutput, ShutdownInput, ShutdownOutput,
        },
        trace::Stage,
    },
    plan::Status,
    position::Positions,
    problem::Problem,
    time::Timestamp,
};
use domain::execution::{
    Execution, Known,
    intake::{self, Decision},
};

use crate::{
    api::Call,
    commit::{Done, History},
    execution::{decided_on, status, unrecorded},
};

pub(crate) async fn pause(call: &Call<'_>, input: PauseInput) -> Result<PauseOutput, Problem> {
    let by = call.acting(Some(&input.paused_by))?;
    let (run, reason) = (input.run_id, input.reason.as_deref());
    let done = of_run(call, run, |known, now| {
        intake::pause(known, run, &by, reason, now)
    })
    .await?;
    let paused_at = done.history.last(|event| {
        let Event::Paused(paused) = event else {
            return None;
        };
        (paused.run_id == run).then_some(paused.paused_at)
    });
    let told = Told::of(&done.history);
    Ok(PauseOutput {
        run_id: run,
        status: told.status,
        paused_at: paused_at.ok_or_else(unrecorded)?,
        execution_id: told.execution_id,
        position: told.position,
    })
}

pub(crate) async fn resume(call: &Call<'_>, input: ResumeInput) -> Result<ResumeOutput, Problem> {
    let by = call.acting(Some(&input.resumed_by))?;
    let run = input.run_id;
    let done = of_run(call, run, |known, now| intake::resume(known, run, &by, now)).await?;
    let resumed_at = done.history.last(|event| {
        let Event::Resumed(resumed) = event else {
            return None;
        };
        (resumed.run_id == run).then_some(resumed.resumed_at)
    });
    let told = Told::of(&done.history);
    Ok(ResumeOutput {
        run_id: run,
        status: told.status,
        resumed_at: resumed_at.ok_or_else(unrecorded)?,
        execution_id: told.execution_id,
        position: told.position,
    })
}

pub(crate) async fn retry(call: &Call<'_>, input: RetryInput) -> Result<RetryOutput, Problem> {
    let by = call.acting(Some(&input.retried_by))?;
    let (run, reason) = (input.run_id, input.reason.as_deref());
    let done = of_run(call, run, |known, now| {
        intake::retry(known, run, &by, reason, now)
    })
    .await?;
    let retried_at = done.history.last(|event| {
        let Event::RetryRequested(retried) = event else {
            return None;
        };
        (retried.run_id == run).then_some(retried.requested_at)
    });
    let told = Told::of(&done.history);
    Ok(RetryOutput {
        run_id: RunId {
            number: run.number + 1,
            ..run
        },
        status: told.status,
        phase: Stage::Execution,
        retried_at: retried_at.ok_or_else(unrecorded)?,
        execution_id: told.execution_id,
        position: told.position,
    })
}

pub(crate) async fn abort(call: &Call<'_>, input: AbortInput) -> Result<AbortOutput, Problem> {
    let reason = input.reason.as_deref();
    let (aborted_at, told) = called_off(call, input.run_id, &input.aborted_by, reason).await?;
    Ok(AbortOutput {
        run_id: input.run_id,
        status: told.status,
        aborted_at,
        execution_id: told.execution_id,
        position: told.position,
    })
}

pub(crate) async fn shutdown(
    call: &Call<'_>,
    input: ShutdownInput,
) -> Result<ShutdownOutput, Problem> {
    let reason = input.reason.as_deref();
    let (shutdown_at, told) = called_off(call, input.run_id, &input.shutdown_by, reason).await?;
    Ok(ShutdownOutput {
        run_id: input.run_id,
        status: told.status,
        shutdown_at,
        execution_id: told.execution_id,
        position: told.position,
    })
}

async fn called_off(
    call: &Call<'_>,
    run: RunId,
    by: &PrincipalId,
    reason: Option<&str>,
) -> Result<(Timestamp, Told), Problem> {
    let by = call.acting(Some(by))?;
    let done = of_run(call, run, |known, now| {
        intake::cancel_run(known, run, &by, reason, now)
    })
    .await?;
    let requested = done.history.last(|event| {
        let Event::CancelRequested(request) = event else {
            return None;
        };
        Some(request.requested_at)
    });
    Ok((requested.ok_or_else(unrecorded)?, Told::of(&done.history)))
}

async fn of_run<D>(call: &Call<'_>, run: RunId, decide: D) -> Result<Done<Execution>, Problem>
where
    D: Fn(&Known, Timestamp) -> Decision,
{
    decided_on(call, run.execution, |state, now| {
        intake::of_run(state, run).and_then(|known| decide(known, now))
    })
    .await
}

/// What every answer says.
struct Told {
    status: Status,
    execution_id: Option<ExecutionId>,
    position: Option<Positions>,
}

impl Told {
    fn of(history: &History<Execution>) -> Self {
        Self {
            status: status(history),
            execution_id: history.state.known().map(|known| known.id),
            position: Some(history.position()),
        }
    }
}
