//! What was asked from outside of an execution, asked once more: the same deciders must admit it
//! in the same state, and record the same of it.

use contracts::{
    event::Event,
    events::intake::{
        ExecutionApproved, ExecutionRejected, IntentReceived, ReportedOutcome, StepReported,
    },
    record::Recorded,
    time::Timestamp,
};
use domain::execution::{
    Execution, Known,
    intake::{self, Ballot, Decision, Failed, Rejection, Report, Submission},
};

use super::{derived::Derived, report::What};

/// Nothing for an event that does not come from outside.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the others are decided by planner, verifier and executor"
)]
pub(super) fn derive(state: &Execution, recorded: &Recorded) -> Option<Derived> {
    let derived = match &recorded.event {
        Event::IntentReceived(event) => Derived::admitted(What::Request, submitted(state, event)),
        Event::ExecutionApproved(event) => Derived::admitted(What::Vote, approved(state, event)),
        Event::ExecutionRejected(event) => Derived::admitted(What::Vote, rejected(state, event)),
        Event::PlanDrafted(event) => request(state, |known| {
            let model = event.planner_model.as_deref();
            intake::offer_draft(known, &event.draft, model, &event.by, event.drafted_at)
        }),
        Event::PlanVerificationRequested(event) => request(state, |known| {
            intake::verify(known, event.plan_id, &event.by, event.requested_at)
        }),
        Event::ExecutionStartRequested(event) => request(state, |known| {
            let mode = Some(event.mode);
            intake::start(known, event.plan_id, mode, &event.by, event.requested_at)
        }),
        Event::CancelRequested(event) => request(state, |known| {
            let reason = event.reason.as_deref();
            intake::cancel(known, &event.by, reason, event.requested_at)
        }),
        Event::Paused(event) => request(state, |known| {
            let reason = event.reason.as_deref();
            intake::pause(known, event.run_id, &event.by, reason, event.paused_at)
        }),
        Event::Resumed(event) => request(state, |known| {
            intake::resume(known, event.run_id, &event.by, event.resumed_at)
        }),
        Event::RetryRequested(event) => request(state, |known| {
            let reason = event.reason.as_deref();
            intake::retry(known, event.run_id, &event.by, reason, event.requested_at)
        }),
        Event::StepReported(event) => reported(state, event),
        _ => return None,
    };
    Some(derived)
}

fn request(state: &Execution, decide: impl FnOnce(&Known) -> Decision) -> Derived {
    Derived::admitted(What::Request, known(state).and_then(decide))
}

/// Whose the token was is known by the attempt; the token itself is recorded nowhere.
fn reported(state: &Execution, event: &StepReported) -> Derived {
    let Some(by) = &event.by else {
        // The fold alone says whether it is legal.
        return Derived::Taken;
    };
    request(state, |known| {
        let step = known.steps().and_then(|steps| steps.get(&event.step_id));
        let token_hash = step.and_then(|step| step.tokens.get(&event.attempt));
        let report = Report {
            step: event.step_id.clone(),
            token_hash: *token_hash
                .ok_or_else(|| Rejection::TokenInvalid(event.step_id.clone()))?,
            by: by.clone(),
            result: match event.outcome {
                ReportedOutcome::Completed => Ok(event.output.clone().unwrap_or_default()),
                ReportedOutcome::Failed => Err(Failed {
                    code: event.error_code.clone(),
                    message: event.error.clone(),
                    retryable: event.retryable.unwrap_or(false),
                }),
            },
        };
        intake::report(known, &report, event.reported_at)
    })
}

/// An event of an execution that was never received is illegal; the fold says so.
fn known(state: &Execution) -> Result<&Known, Rejection> {
    state.known().ok_or(Rejection::Corrupt)
}

fn submitted(state: &Execution, event: &IntentReceived) -> Decision {
    let submission = Submission {
        actor: event.actor.clone(),
        channel_key: event.channel_key.clone(),
        text: event.text.clone(),
        metadata: event.metadata.clone(),
        draft: event.draft.clone(),
        start: event.start,
        mode: event.mode,
        deadline_at: event.deadline_at,
    };
    intake::submit(state, event.execution_id, &submission, event.received_at)
}

fn approved(state: &Execution, event: &ExecutionApproved) -> Decision {
    let ballot = Ballot {
        step: event.step_id.clone(),
        block: Some(event.block_id),
        by: event.by.clone(),
        plan_hash: event.plan_hash,
        inputs_digest: event.inputs_digest,
    };
    let note = event.note.as_deref();
    intake::approve(known(state)?, &ballot, note, event.approved_at)
}

fn rejected(state: &Execution, event: &ExecutionRejected) -> Decision {
    let ballot = Ballot {
        step: event.step_id.clone(),
        block: Some(event.block_id),
        by: event.by.clone(),
        plan_hash: event.plan_hash,
        inputs_digest: event.inputs_digest,
    };
    intake::reject(known(state)?, &ballot, &event.reason, event.rejected_at)
}

/// When something was asked for from outside, as it was recorded: the decision's own reading of
/// the clock. Everything else is decided at the event's time.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "planner, verifier and executor decide at the event's time"
)]
pub(super) fn asked_at(event: &Event) -> Option<Timestamp> {
    Some(match event {
        Event::IntentReceived(event) => event.received_at,
        Event::PlanDrafted(event) => event.drafted_at,
        Event::PlanVerificationRequested(event) => event.requested_at,
        Event::ExecutionStartRequested(event) => event.requested_at,
        Event::ExecutionApproved(event) => event.approved_at,
        Event::ExecutionRejected(event) => event.rejected_at,
        Event::StepReported(event) => event.reported_at,
        Event::CancelRequested(event) => event.requested_at,
        Event::Paused(event) => event.paused_at,
        Event::Resumed(event) => event.resumed_at,
        Event::RetryRequested(event) => event.requested_at,
        Event::SkillInstallRequested(event) => event.requested_at,
        Event::SkillDisabled(event) => event.disabled_at,
        Event::PolicyActivationRequested(event) => event.requested_at,
        Event::HoldPlaced(event) => event.placed_at,
        Event::HoldLifted(event) => event.lifted_at,
        Event::IncidentRaised(event) => event.raised_at,
        Event::IncidentResolved(event) => event.resolved_at,
        _ => return None,
    })
}
