//! `controlPlane.intent.*`

use serde_json::{Map, Value};

use crate::{
    ids::{ExecutionId, IntentId, PrincipalId, WorkspaceId},
    plan::{Mode, Start, Status},
    position::Positions,
    time::Timestamp,
};

message! {
    /// `controlPlane.intent.submit`: an intent becomes an execution.
    input SubmitInput {
        /// Must be the workspace of the credential.
        workspace_id: WorkspaceId,
        #[schemars(extend("x-pii" = true))]
        text: String,
    }, optional {
        /// On whose behalf; anyone but the caller needs the grant `act-as`.
        actor_id: PrincipalId,
        channel_key: String,
        /// `playbook` and `params` name a playbook of an installed skill.
        metadata: Map<String, Value>,
        /// 32 lower-case hexadecimal digits; `traceparent` is preferred where both are given.
        trace_id: String,
        /// A plan draft; without one, a playbook or an outside planner gives it.
        draft: Map<String, Value>,
        start: Start,
        mode: Mode,
        /// After this instant the execution ends with `DEADLINE_EXCEEDED`.
        deadline_at: Timestamp,
    }

    output SubmitOutput {
        execution_id: ExecutionId,
        intent_id: IntentId,
        status: Status,
        received_at: Timestamp,
    }, optional {
        position: Positions,
    }
}
