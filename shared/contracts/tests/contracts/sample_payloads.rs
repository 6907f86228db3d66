//! One payload of each event as this build writes it, with every member it can have; the sample
//! of a new event is written from it. Samples that are committed stay as they were.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "`members` names every event; the functions below it have their share each"
)]

use contracts::event::EventName;
use serde_json::{Map, Value, json};

use super::sample_documents::{
    AT, BLOCK, DRAFT, EVENT, EXECUTION, INCARNATION, INSTALLATION, INTENT, LATER, ada, approval,
    bundle, digest, draft, facts, finding, grace, inputs, manifest, pin, plan, plan_id, report,
    run_id, step_facts, step_verdict,
};

/// What every decision of the catalogue's readers carries.
fn on_facts(mut payload: Value) -> Value {
    let members = payload.as_object_mut().unwrap();
    members.insert("catalogue".to_owned(), json!(17));
    members.insert("factsdigest".to_owned(), json!(digest(&facts())));
    payload
}

fn of_execution(payload: Value) -> Value {
    merged(json!({ "executionId": EXECUTION }), payload)
}

fn of_run(payload: Value) -> Value {
    merged(
        json!({ "executionId": EXECUTION, "runId": run_id() }),
        payload,
    )
}

fn of_step(payload: Value) -> Value {
    merged(of_run(json!({ "stepId": "refund" })), payload)
}

fn merged(first: Value, second: Value) -> Value {
    let mut members: Map<String, Value> = serde_json::from_value(first).unwrap();
    members.extend(serde_json::from_value::<Map<_, _>>(second).unwrap());
    Value::Object(members)
}

pub fn payload(event: EventName) -> Value {
    merged(members(event), json!({ "rules": 1 }))
}

fn members(event: EventName) -> Value {
    match event {
        EventName::IntentReceived
        | EventName::PlanDrafted
        | EventName::PlanVerificationRequested
        | EventName::ExecutionStartRequested
        | EventName::ExecutionApproved
        | EventName::ExecutionRejected
        | EventName::StepReported
        | EventName::CancelRequested
        | EventName::Paused
        | EventName::Resumed
        | EventName::RetryRequested => requests(event),
        EventName::SkillInstallRequested
        | EventName::SkillDisabled
        | EventName::SkillInstalled
        | EventName::SkillRejected
        | EventName::PolicyActivationRequested
        | EventName::PolicyActivated
        | EventName::PolicyRefused
        | EventName::HoldPlaced
        | EventName::HoldLifted
        | EventName::IncidentRaised
        | EventName::IncidentResolved => catalogue(event),
        EventName::DraftRequested
        | EventName::PlanCompiled
        | EventName::PlanRejected
        | EventName::PlanVerified
        | EventName::StepJudged => plans(event),
        EventName::ExecutionStarted
        | EventName::StepProposed
        | EventName::StepBlocked
        | EventName::StepStarted
        | EventName::StepAccepted
        | EventName::StepCompleted
        | EventName::StepFailed
        | EventName::StepSkipped
        | EventName::StepCompensated
        | EventName::ExecutionStopping
        | EventName::ExecutionCompleted
        | EventName::ExecutionFailed => runs(event),
    }
}

fn requests(event: EventName) -> Value {
    match event {
        EventName::IntentReceived => of_execution(json!({
            "intentId": INTENT,
            "receivedAt": AT,
            "actorId": "ada@example.org",
            "channelKey": "chat",
            "actor": ada(),
            "text": "Refund order A-1009, please — it arrived broken.",
            "metadata": { "playbook": "refund", "params": { "orderId": "A-1009", "ratio": 0.5 } },
            "draft": draft(),
            "requestDigest": digest(&draft()),
            "start": "auto",
            "mode": "autonomous",
            "deadlineAt": LATER,
        })),
        EventName::PlanDrafted => of_execution(json!({
            "draftId": DRAFT,
            "draft": draft(),
            "plannerModel": "example-model-1",
            "by": ada(),
            "draftedAt": AT,
        })),
        EventName::PlanVerificationRequested => of_execution(json!({
            "planId": plan_id(),
            "by": ada(),
            "requestedAt": AT,
        })),
        EventName::ExecutionStartRequested => of_execution(json!({
            "planId": plan_id(),
            "mode": "assist",
            "by": ada(),
            "requestedAt": AT,
        })),
        EventName::ExecutionApproved => of_step(json!({
            "blockId": BLOCK,
            "by": grace(),
            "planHash": digest(&plan()),
            "inputsDigest": digest(&inputs()),
            "note": "checked with the warehouse",
            "approvedAt": AT,
        })),
        EventName::ExecutionRejected => of_step(json!({
            "blockId": BLOCK,
            "by": grace(),
            "planHash": digest(&plan()),
            "inputsDigest": digest(&inputs()),
            "reason": "already refunded",
            "rejectedAt": AT,
        })),
        EventName::StepReported => of_step(json!({
            "attempt": 1,
            "outcome": "failed",
            "output": { "refundId": "R-7" },
            "error": "the bank refused",
            "errorCode": "CARD_DECLINED",
            "retryable": true,
            "by": ada(),
            "reportedAt": AT,
        })),
        EventName::CancelRequested => of_execution(json!({
            "by": ada(),
            "reason": "the customer changed her mind",
            "requestedAt": AT,
        })),
        EventName::Paused => of_run(json!({
            "by": ada(),
            "reason": "stocktaking",
            "pausedAt": AT,
        })),
        EventName::Resumed => of_run(json!({ "by": ada(), "resumedAt": AT })),
        EventName::RetryRequested => of_run(json!({
            "by": ada(),
            "reason": "the bank is back",
            "from": "refund",
            "requestedAt": AT,
        })),
        other => unreachable!("`{other}` is no request"),
    }
}

fn catalogue(event: EventName) -> Value {
    let skill = json!({ "skillKey": "support.desk", "version": "1.4.0" });
    let bundle_hash = json!({ "hash": digest(&bundle()) });
    let verdict = merged(
        bundle_hash.clone(),
        json!({
            "findings": [{ "path": "/policies/reads.cedar", "code": "UNUSED", "message": "never met" }],
            "engineVersion": "cedar-4.14.1",
        }),
    );
    let hold = json!({ "scope": "skill:support.desk", "by": ada(), "reason": "under review" });
    match event {
        EventName::SkillInstallRequested => merged(
            skill,
            json!({
                "installationId": INSTALLATION,
                "artifactDigest": "sha256:0f1e",
                "manifest": manifest(),
                "by": ada(),
                "requestedAt": AT,
            }),
        ),
        EventName::SkillDisabled => merged(
            skill,
            json!({
                "by": ada(),
                "reason": "replaced by 1.5.0",
                "disabledAt": AT,
            }),
        ),
        EventName::SkillInstalled => merged(
            skill,
            json!({
                "installationId": INSTALLATION,
                "installedAt": AT,
                "publisher": "acme-support",
                "provenance": "internal",
                "manifestDigest": digest(&manifest()),
                "trustDigest": digest(&bundle()["trust"]),
                "report": report(),
                "catalogue": 17,
            }),
        ),
        EventName::SkillRejected => merged(
            skill,
            json!({
                "installationId": INSTALLATION,
                "rejectedAt": AT,
                "reason": "PUBLISHER_UNTRUSTED",
                "provenance": "internal",
                "manifestDigest": digest(&manifest()),
                "issues": report()["issues"],
                "trustDigest": digest(&bundle()["trust"]),
                "report": report(),
                "catalogue": 17,
            }),
        ),
        EventName::PolicyActivationRequested => merged(
            bundle_hash,
            json!({
                "bundle": bundle(),
                "by": ada(),
                "requestedAt": AT,
            }),
        ),
        EventName::PolicyActivated => merged(verdict, json!({ "activatedAt": AT })),
        EventName::PolicyRefused => merged(verdict, json!({ "refusedAt": AT })),
        EventName::HoldPlaced => merged(hold, json!({ "placedAt": AT })),
        EventName::HoldLifted => merged(hold, json!({ "liftedAt": AT })),
        EventName::IncidentRaised => json!({
            "code": "POISON_MESSAGE",
            "cause": "its payload is not that of an event",
            "about": format!("acme/execution/{EXECUTION}"),
            "eventId": EVENT,
            "service": "executor",
            "raisedAt": AT,
        }),
        EventName::IncidentResolved => json!({
            "code": "POISON_MESSAGE",
            "by": ada(),
            "reason": "the writer was replaced",
            "resolvedAt": AT,
        }),
        other => unreachable!("`{other}` is not of the catalogue"),
    }
}

fn plans(event: EventName) -> Value {
    match event {
        EventName::DraftRequested => of_execution(json!({
            "attempt": 1,
            "requestedAt": AT,
            "expiresAt": LATER,
        })),
        EventName::PlanCompiled => on_facts(of_execution(json!({
            "planId": plan_id(),
            "compiledAt": AT,
            "stepCount": 2,
            "deterministicHash": digest(&plan()),
            "plan": plan(),
            "pins": [pin()],
            "source": {
                "kind": "playbook",
                "skill": "support.desk",
                "name": "refund",
                "digest": digest(&draft()),
                "paramsDigest": digest(&inputs()),
            },
            "compilerVersion": 1,
        }))),
        EventName::PlanRejected => on_facts(of_execution(json!({
            "planId": plan_id(),
            "rejectedAt": AT,
            "reasons": ["no such skill"],
            "cause": "compile",
            "findings": [finding()],
            "final": true,
        }))),
        EventName::PlanVerified => on_facts(of_execution(json!({
            "planId": plan_id(),
            "verdict": "assist",
            "requiresApproval": true,
            "riskTier": "high",
            "steps": { "refund": step_verdict() },
            "facts": facts(),
            "policyVersion": digest(&bundle()),
            "engineVersion": "cedar-4.14.1",
            "verifiedAt": AT,
        }))),
        EventName::StepJudged => on_facts(of_step(merged(
            step_verdict(),
            json!({
                "answers": 6,
                "inputsDigest": digest(&inputs()),
                "facts": step_facts(),
                "policyVersion": digest(&bundle()),
                "engineVersion": "cedar-4.14.1",
                "judgedAt": AT,
            }),
        ))),
        other => unreachable!("`{other}` is not about a plan"),
    }
}

fn runs(event: EventName) -> Value {
    match event {
        EventName::ExecutionStarted => of_run(json!({
            "planId": plan_id(),
            "mode": "autonomous",
            "startedAt": AT,
        })),
        EventName::StepProposed => on_facts(of_step(json!({
            "inputs": inputs(),
            "inputsDigest": digest(&inputs()),
            "reason": "inputs_known",
            "proposedAt": AT,
        }))),
        EventName::StepBlocked => on_facts(of_step(json!({
            "blockedAt": AT,
            "reason": "moves money",
            "blockId": BLOCK,
            "planHash": digest(&plan()),
            "inputsDigest": digest(&inputs()),
            "approval": approval(),
            "expiresAt": LATER,
        }))),
        EventName::StepStarted => on_facts(of_step(json!({
            "startedAt": AT,
            "attempt": 2,
            "takeover": true,
            "owner": INCARNATION,
            "idempotencyKey": digest(&json!([EXECUTION, "refund", "run", 0, 0])),
            "pin": pin(),
            "inputsDigest": digest(&inputs()),
            "tokenHash": digest(&json!("token")),
            "timeoutAt": LATER,
        }))),
        EventName::StepAccepted => of_step(json!({
            "attempt": 2,
            "acceptedAt": AT,
            "expiresAt": LATER,
        })),
        EventName::StepCompleted => of_step(json!({
            "completedAt": AT,
            "attempt": 2,
            "output": { "refundId": "R-7", "fee": 0.25, "lines": [1, -2, null, true] },
            "outputDigest": digest(&json!({
                "refundId": "R-7", "fee": 0.25, "lines": [1, -2, null, true],
            })),
        })),
        EventName::StepFailed => of_step(json!({
            "failedAt": AT,
            "attempt": 2,
            "errorCode": "TIMEOUT",
            "errorMessage": "no answer within 30 s",
            "retryable": true,
            "outcome": "unknown",
            "nextAttemptAt": LATER,
        })),
        EventName::StepSkipped => of_step(json!({ "reason": "not needed", "skippedAt": AT })),
        EventName::StepCompensated => of_step(json!({
            "reason": "a later step failed",
            "compensatedAt": AT,
        })),
        EventName::ExecutionStopping => on_facts(of_step(json!({
            "code": "SKILL_UNAVAILABLE",
            "cause": "`support.desk` was disabled",
            "stoppingAt": AT,
        }))),
        EventName::ExecutionCompleted => of_run(json!({
            "completedAt": AT,
            "outcome": "succeeded",
        })),
        EventName::ExecutionFailed => on_facts(of_step(json!({
            "failedAt": AT,
            "errorCode": "SKILL_UNAVAILABLE",
            "errorMessage": "skill `acme.refunds` is not available any more",
            "problem": { "attempts": 3 },
        }))),
        other => unreachable!("`{other}` is not about a run"),
    }
}
