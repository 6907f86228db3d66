//! `controlPlane.execution.step.report`: what became of a step that is completed later.

use contracts::{
    canonical::{self, Digest},
    event::Event,
    events::intake::ReportedOutcome,
    operations::step::{ReportInput, ReportOutput},
    plan::Finding,
    problem::Problem,
};
use domain::execution::{
    ending::{CODE_CHARS_MAX, MESSAGE_CHARS_MAX},
    intake::{self, Failed, Report},
};
use host::http::input::{INVALID_VALUE, MISSING_MEMBER, UNKNOWN_MEMBER, finding, invalid};
use serde_json::Value;

use crate::{
    api::Call,
    execution::{decided, status, unrecorded},
};

pub(crate) async fn report(call: &Call<'_>, input: ReportInput) -> Result<ReportOutput, Problem> {
    let (execution_id, step_id) = (input.execution_id, input.step_id.clone());
    let report = Report {
        step: step_id.clone(),
        token_hash: Digest::of(input.token.as_bytes()),
        by: call.actor().clone(),
        result: result(input)?,
    };
    let done = decided(call, execution_id, |known, now| {
        intake::report(known, &report, now)
    })
    .await?;
    let reported_at = done.history.last(|event| {
        let Event::StepReported(reported) = event else {
            return None;
        };
        (reported.step_id == step_id).then_some(reported.reported_at)
    });
    Ok(ReportOutput {
        execution_id,
        step_id,
        status: status(&done.history),
        reported_at: reported_at.ok_or_else(unrecorded)?,
        position: Some(done.history.position()),
    })
}

/// What is said of a success belongs to a success, and so with a failure.
fn result(input: ReportInput) -> Result<Result<Value, Failed>, Problem> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut odd = |is_there: bool, path: &str, why: &str| {
        if is_there {
            findings.push(finding(path.to_owned(), UNKNOWN_MEMBER, why.to_owned()));
        }
    };
    let result = match input.outcome {
        ReportedOutcome::Completed => {
            let why = "a step that is completed has no error";
            odd(input.error_code.is_some(), "/errorCode", why);
            odd(input.error.is_some(), "/error", why);
            odd(input.retryable.is_some(), "/retryable", why);
            let path = "/output".to_owned();
            let invalid = input.output.as_ref().map(canonical::check);
            if let Some(Err(error)) = invalid {
                findings.push(finding(path, INVALID_VALUE, error.to_string()));
            } else if input.output.is_none() {
                let why = "what the action's output schema describes".to_owned();
                findings.push(finding(path, MISSING_MEMBER, why));
            }
            Ok(input.output.unwrap_or_default())
        }
        ReportedOutcome::Failed => {
            let why = "a step that failed has no output";
            odd(input.output.is_some(), "/output", why);
            Err(Failed {
                code: input.error_code.map(|code| clipped(&code, CODE_CHARS_MAX)),
                message: input.error.map(|error| clipped(&error, MESSAGE_CHARS_MAX)),
                retryable: input.retryable.unwrap_or(false),
            })
        }
    };
    if findings.is_empty() {
        Ok(result)
    } else {
        Err(invalid(findings))
    }
}

fn clipped(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}
