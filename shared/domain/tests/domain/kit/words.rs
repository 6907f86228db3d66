//! Events in a few words, so that a test reads as what happened.

use contracts::{
    event::Event,
    events::{executor::CompletionOutcome, planner::RejectionCause},
};

pub fn words(event: &Event) -> String {
    match event {
        Event::DraftRequested(event) => format!("draft requested #{}", event.attempt),
        Event::PlanDrafted(_) => "drafted".to_owned(),
        Event::PlanCompiled(_) => "compiled".to_owned(),
        Event::PlanRejected(event) => {
            let cause = match event.cause {
                RejectionCause::Compile => "compile",
                RejectionCause::DraftTimeout => "draft_timeout",
                RejectionCause::Policy => "policy",
            };
            let end = if event.is_final { " for good" } else { "" };
            format!("rejected: {cause}{end}")
        }
        Event::PlanVerified(event) => format!("verified: {}", event.verdict.as_str()),
        Event::ExecutionStartRequested(event) => format!("start requested: {:?}", event.mode),
        Event::ExecutionStarted(event) => format!("run {} started", event.run_id.number),
        Event::StepProposed(event) => format!("{} proposed: {:?}", event.step_id, event.reason),
        Event::StepJudged(event) => {
            format!(
                "{} judged: {}",
                event.step_id,
                event.verdict.verdict.as_str()
            )
        }
        Event::StepBlocked(event) => format!("{} blocked", event.step_id),
        Event::ExecutionApproved(event) => format!("{} approved by {}", event.step_id, event.by.id),
        Event::ExecutionRejected(event) => format!("{} rejected by {}", event.step_id, event.by.id),
        Event::StepStarted(event) => {
            let how = if event.takeover {
                "taken over"
            } else {
                "started"
            };
            format!("{} {how} #{}", event.step_id, event.attempt)
        }
        Event::StepCompleted(event) => format!("{} completed #{}", event.step_id, event.attempt),
        Event::StepFailed(event) => {
            let again = if event.next_attempt_at.is_some() {
                ", again"
            } else {
                ""
            };
            format!(
                "{} failed #{}: {}{again}",
                event.step_id, event.attempt, event.error_code
            )
        }
        Event::ExecutionStopping(event) => format!("stopping: {}", event.code.as_str()),
        Event::ExecutionFailed(event) => format!("failed: {}", event.error_code.as_str()),
        Event::ExecutionCompleted(event) => match event.outcome {
            Some(CompletionOutcome::Observed) => "completed: observed".to_owned(),
            Some(CompletionOutcome::Succeeded) | None => "completed".to_owned(),
        },
        other => other.name().to_string(),
    }
}
