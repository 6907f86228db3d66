//! `execution pause|resume|retry`: of the last run that an execution has.

use contracts::{
    ids::{ExecutionId, RunId},
    operations::execution::{
        PauseInput, PauseOutput, ResumeInput, ResumeOutput, RetryInput, RetryOutput,
    },
    registry::OperationName,
};

use super::record;
use crate::{
    command::{Global, Session},
    failure::Failure,
};

async fn last_run(session: &Session, execution: ExecutionId) -> Result<RunId, Failure> {
    let output = record(&session.api, execution, None).await?;
    output.execution.run_id.ok_or_else(|| {
        let status = output.execution.status;
        Failure::Unsuccessful(format!(
            "execution `{execution}` is {status}: it has no run yet"
        ))
    })
}

pub async fn pause(
    global: &Global,
    execution: ExecutionId,
    reason: Option<String>,
) -> Result<(), Failure> {
    let session = global.session("admin")?;
    let input = PauseInput {
        run_id: last_run(&session, execution).await?,
        paused_by: session.api.principal.clone(),
        reason,
    };
    let output: PauseOutput = session
        .api
        .ask(OperationName::ExecutionPause, &input)
        .await?;
    let screen = session.screen;
    screen.answer(&output, || {
        let status = screen.state(output.status.as_str());
        format!("paused  run {}  {status}", output.run_id)
    });
    Ok(())
}

pub async fn resume(global: &Global, execution: ExecutionId) -> Result<(), Failure> {
    let session = global.session("admin")?;
    let input = ResumeInput {
        run_id: last_run(&session, execution).await?,
        resumed_by: session.api.principal.clone(),
    };
    let output: ResumeOutput = session
        .api
        .ask(OperationName::ExecutionResume, &input)
        .await?;
    let screen = session.screen;
    screen.answer(&output, || {
        let status = screen.state(output.status.as_str());
        format!("goes on  run {}  {status}", output.run_id)
    });
    Ok(())
}

pub async fn retry(
    global: &Global,
    execution: ExecutionId,
    reason: Option<String>,
) -> Result<(), Failure> {
    let session = global.session("admin")?;
    let input = RetryInput {
        run_id: last_run(&session, execution).await?,
        retried_by: session.api.principal.clone(),
        reason,
    };
    let output: RetryOutput = session
        .api
        .ask(OperationName::ExecutionRetry, &input)
        .await?;
    let screen = session.screen;
    screen.answer(&output, || {
        let status = screen.state(output.status.as_str());
        format!("tried again  as run {}  {status}", output.run_id)
    });
    Ok(())
}
