//! `controlPlane.execution.step.*`

use serde_json::Value;

use crate::{
    events::intake::ReportedOutcome,
    ids::{ExecutionId, StepId},
    plan::Status,
    position::Positions,
    time::Timestamp,
};

message! {
    /// `controlPlane.execution.step.report`: what became of a step whose skill has answered that it
    /// will be completed later. The first report of an attempt counts.
    input ReportInput {
        execution_id: ExecutionId,
        step_id: StepId,
        /// The completion token that came with the call, as `Cp-Token`.
        token: String,
        outcome: ReportedOutcome,
    }, optional {
        /// Where it is completed: what the action's output schema describes.
        output: Value,
        /// Where it failed: stable, such as `CARD_DECLINED`.
        error_code: String,
        /// Where it failed: for people.
        error: String,
        /// Whether the same may succeed later.
        retryable: bool,
    }

    output ReportOutput {
        execution_id: ExecutionId,
        step_id: StepId,
        status: Status,
        reported_at: Timestamp,
    }, optional {
        position: Positions,
    }
}
