//! One input for each operation, as it may be sent.
//!
//! What only a running system can give stands here under a name: a test puts real values in their
//! places, sends each example, and holds the answers against what is published.

use serde_json::{Map, Value, json};

use super::OperationName;

/// The workspace that `controlplane up` makes.
pub const WORKSPACE: &str = "demo";

/// Who asks.
pub const PERSON: &str = "jane";

pub const EXECUTION: &str = "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708192";
pub const INTENT: &str = "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708193";
pub const PLAN: &str = "9da1d29b-0850-5fd2-a55b-3ab1e6140ced";
pub const BLOCK: &str = "1f0c4f0a-52c1-5d2b-a8a7-3b0f6a559c1e";

/// What a voter was shown.
pub const PLAN_HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
pub const INPUTS_DIGEST: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

/// Of one call to a worker, who alone has it.
pub const TOKEN: &str = "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9";

/// Of a signature that another manifest has: each is signed on its own.
pub const SIGNATURE: &str =
    "atvVDauWvs5fZ+rXnzdcY7jsI6Dq8mPQptukn0fCwflL4goCb+2sR5KMOKZHzHAljmtwBD38j4aMKY14DRJaAA==";

/// An input of the operation, by its members.
pub fn input(name: OperationName) -> Map<String, Value> {
    match written(name) {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

fn written(name: OperationName) -> Value {
    let run = format!("{EXECUTION}:1");
    match name {
        OperationName::IntentSubmit => json!({
            "workspaceId": WORKSPACE, "text": "Say hello", "draft": draft(), "start": "manual",
        }),
        OperationName::PlanCompile => json!({ "executionId": EXECUTION, "intentId": INTENT }),
        OperationName::PlanVerify => json!({ "executionId": EXECUTION, "planId": PLAN }),
        OperationName::ExecutionStart => json!({
            "executionId": EXECUTION, "planId": PLAN, "mode": "assist",
        }),
        OperationName::ExecutionApprove => json!({
            "executionId": EXECUTION, "stepId": "hello", "approvedBy": PERSON, "blockId": BLOCK,
            "planHash": PLAN_HASH, "inputsDigest": INPUTS_DIGEST, "note": "as we agreed",
        }),
        OperationName::ExecutionReject => json!({
            "executionId": EXECUTION, "stepId": "hello", "rejectedBy": PERSON, "blockId": BLOCK,
            "reason": "not today",
        }),
        OperationName::ExecutionCancel => json!({
            "executionId": EXECUTION, "cancelledBy": PERSON, "reason": "asked by mistake",
        }),
        OperationName::ExecutionPause => json!({
            "runId": run, "pausedBy": PERSON, "reason": "while the shop is closed",
        }),
        OperationName::ExecutionResume => json!({ "runId": run, "resumedBy": PERSON }),
        OperationName::ExecutionRetry => json!({
            "runId": run, "retriedBy": PERSON, "reason": "there is more time now",
        }),
        OperationName::ExecutionAbort => json!({
            "runId": run, "abortedBy": PERSON, "reason": "it would be too late",
        }),
        OperationName::ExecutionShutdown => json!({
            "runId": run, "shutdownBy": PERSON, "reason": "over for today",
        }),
        OperationName::StepReport => json!({
            "executionId": EXECUTION, "stepId": "hello", "token": TOKEN, "outcome": "completed",
            "output": { "message": "hello" },
        }),
        OperationName::SkillInstall | OperationName::SkillVerify => json!({
            "skillKey": "acme.notes", "version": "1.0.0", "artifactDigest": artifact(),
            "manifest": manifest(),
        }),
        OperationName::SkillDisable => json!({
            "skillKey": "acme.notes", "disabledBy": PERSON, "reason": "it is replaced",
        }),
        OperationName::ExecutionGet | OperationName::PolicyExplain => {
            json!({ "executionId": EXECUTION })
        }
        OperationName::ExecutionList => json!({ "statuses": ["verified", "blocked"], "limit": 20 }),
        OperationName::TraceGet => json!({ "executionId": EXECUTION, "includePayloads": true }),
        OperationName::SkillList => json!({ "includeDisabled": true, "limit": 20 }),
        OperationName::ApprovalList => json!({ "limit": 20 }),
        OperationName::PolicyActivate => json!({
            "bundle": { "policies": { "reads.cedar": READS } }, "activatedBy": PERSON,
        }),
    }
}

const READS: &str = "@id(\"reads-run-by-themselves\")\n@reason(\"reading changes nothing\")\n\
    permit (principal, action in Action::\"run\", resource)\n\
    when { resource.effect == Effect::\"read\" };\n";

pub(super) fn draft() -> Value {
    json!({ "steps": [
        { "id": "hello", "uses": "core.echo/echo", "with": { "message": "hello" } },
    ] })
}

fn artifact() -> String {
    format!("sha256:{PLAN_HASH}")
}

fn manifest() -> Value {
    json!({
        "schemaVersion": "1.0.0",
        "skill": { "key": "acme.notes", "version": "1.0.0", "entryPoint": "nats:notes" },
        "publisher": { "id": "development", "provenance": "development" },
        "artifact": { "digest": artifact() },
        "compatibility": {
            "contractsSpec": { "minVersion": "1.0.0" },
            "controlPlaneFeature": { "minVersion": "1.0.0" },
        },
        "metadata": {
            "description": "notes of a team",
            "actions": {
                "add": {
                    "input": {
                        "type": "object",
                        "properties": { "text": { "type": "string" } },
                        "required": ["text"],
                    },
                    "output": { "type": "object" },
                    "effect": "write",
                    "risk": "low",
                },
            },
        },
        "signature": {
            "algorithm": "ed25519",
            "signature": SIGNATURE,
            "publicKey": "K8KACzMW4Akgn/11fasZzPCuhLx66QZU4egXEtJw9lM=",
        },
    })
}
