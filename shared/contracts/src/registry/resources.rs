//! Paths beside `/v1/<operation>`, for people who expect resources: the same handlers.

use super::OperationName;

/// A path of an operation: `POST` for a command, `GET` for a query.
#[derive(Debug)]
pub struct Resource {
    pub operation: OperationName,
    /// What stands in braces is a member of the input.
    pub path: &'static str,
}

impl Resource {
    /// Members of the input that stand in the path.
    pub fn in_path(&self) -> &'static [&'static str] {
        if self.path.contains("{stepId}") {
            &["executionId", "stepId"]
        } else if self.path.contains("{executionId}") {
            &["executionId"]
        } else if self.path.contains("{runId}") {
            &["runId"]
        } else {
            &[]
        }
    }
}

const fn at(path: &'static str, operation: OperationName) -> Resource {
    Resource { operation, path }
}

pub static RESOURCES: [Resource; 17] = [
    at("/v1/intents", OperationName::IntentSubmit),
    at("/v1/executions", OperationName::ExecutionList),
    at("/v1/executions/{executionId}", OperationName::ExecutionGet),
    at(
        "/v1/executions/{executionId}/trace",
        OperationName::TraceGet,
    ),
    at(
        "/v1/executions/{executionId}/policy",
        OperationName::PolicyExplain,
    ),
    at(
        "/v1/executions/{executionId}/start",
        OperationName::ExecutionStart,
    ),
    at(
        "/v1/executions/{executionId}/approve",
        OperationName::ExecutionApprove,
    ),
    at(
        "/v1/executions/{executionId}/reject",
        OperationName::ExecutionReject,
    ),
    at(
        "/v1/executions/{executionId}/cancel",
        OperationName::ExecutionCancel,
    ),
    at(
        "/v1/executions/{executionId}/steps/{stepId}/report",
        OperationName::StepReport,
    ),
    at("/v1/runs/{runId}/pause", OperationName::ExecutionPause),
    at("/v1/runs/{runId}/resume", OperationName::ExecutionResume),
    at("/v1/runs/{runId}/retry", OperationName::ExecutionRetry),
    at("/v1/runs/{runId}/abort", OperationName::ExecutionAbort),
    at(
        "/v1/runs/{runId}/shutdown",
        OperationName::ExecutionShutdown,
    ),
    at("/v1/approvals", OperationName::ApprovalList),
    at("/v1/skills", OperationName::SkillList),
];
