//! Following an execution, one line an event.

use std::{pin::pin, time::Duration};

use contracts::{event::EventName, ids::ExecutionId, position::Positions, time::Timestamp};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    command::Session,
    execution,
    failure::{Failure, found},
    feed::{CloudEvent, Feed},
    screen::{Screen, plain, shortened},
};

/// How much of what an event says fits on its line.
const SUMMARY_CHARS_MAX: usize = 100;

/// A faulty plan may have hundreds of findings; `execution get` shows all.
const FINDINGS_SHOWN_MAX: usize = 20;

/// When no event has come for so long, the past is told, and what is waited for is waited for now.
const QUIET_AFTER: Duration = Duration::from_millis(300);

/// What the execution waits for, as far as it was read.
#[derive(Default)]
struct Waits {
    draft: bool,
    votes: Vec<String>,
}

/// Prints until the execution ends, and fails where it ends otherwise than completed.
pub async fn follow(session: &Session, execution: ExecutionId) -> Result<(), Failure> {
    let screen = session.screen;
    let mut feed = Feed::of(&session.api, execution);
    let mut waits = Waits::default();
    let mut begun = None;
    let mut ended = None;
    loop {
        let mut next = pin!(feed.next());
        let event = tokio::select! {
            biased;
            event = &mut next => event,
            () = sleep(QUIET_AFTER), if waits.any() => {
                for hint in waits.hints(session, execution) {
                    screen.line(&screen.waiting(&format!("        {hint}")));
                }
                next.await
            }
        };
        let Some(event) = event? else { break };
        let first = *begun.get_or_insert(event.time);
        screen.answer(&event, || line(screen, &event, first));
        waits.take_in(&event);
        ended = event.known();
    }
    if ended == Some(EventName::ExecutionCompleted) {
        return Ok(());
    }
    tell_why(session, execution, feed.position()).await;
    Err(Failure::Unsuccessful(
        "the execution did not complete".to_owned(),
    ))
}

/// Why it ended as it did, for who may see that.
async fn tell_why(session: &Session, execution_id: ExecutionId, at_least: Option<Positions>) {
    let Ok(output) = execution::record(&session.api, execution_id, at_least).await else {
        return;
    };
    let findings = output.execution.findings.unwrap_or_default();
    for line in found(findings.iter().take(FINDINGS_SHOWN_MAX)) {
        session.screen.line(&format!("           {line}"));
    }
    if let Some(more @ 1..) = findings.len().checked_sub(FINDINGS_SHOWN_MAX) {
        let all = format!("{} execution get {execution_id}", session.typed);
        session
            .screen
            .line(&format!("           and {more} more: {all}"));
    }
}

impl Waits {
    fn take_in(&mut self, event: &CloudEvent) {
        let step = event.text("stepId").unwrap_or_default();
        match event.known() {
            Some(EventName::DraftRequested) => self.draft = true,
            Some(EventName::StepBlocked) => self.votes.push(step.to_owned()),
            Some(EventName::ExecutionApproved | EventName::ExecutionRejected) => {
                self.votes.retain(|waiting| waiting != step);
            }
            Some(EventName::PlanDrafted) => self.draft = false,
            Some(EventName::ExecutionStopping) => *self = Self::default(),
            Some(_) if event.is_end() => *self = Self::default(),
            Some(_) | None => {}
        }
    }

    fn any(&self) -> bool {
        self.draft || !self.votes.is_empty()
    }

    /// What to type, each once.
    fn hints(&mut self, session: &Session, execution: ExecutionId) -> Vec<String> {
        let Self { draft, votes } = std::mem::take(self);
        let typed = &session.typed;
        let mut hints = Vec::new();
        if draft {
            hints.push(
                "waits for a planner to send a draft: its words fit no playbook, and it came \
                 without one"
                    .to_owned(),
            );
            hints.push(format!(
                "give it up with: {typed} execution cancel {execution}"
            ));
        }
        hints.extend(votes.iter().map(|step| {
            let step = plain(step);
            format!("waits for a vote: {typed} execution approve {execution} {step}")
        }));
        hints
    }
}

/// An event in one line.
pub fn line(screen: Screen, event: &CloudEvent, first: Timestamp) -> String {
    let after = event.time.since_ms(first);
    let after = screen.faint(&format!("{after:>6} ms"));
    format!("{after}  {}", named(screen, event))
}

/// Its name, in the colour of what it means, and what it says.
pub fn named(screen: Screen, event: &CloudEvent) -> String {
    let name = format!("{:<29}", plain(event.name()));
    let name = match event.known() {
        Some(EventName::ExecutionCompleted | EventName::StepCompleted) => screen.good(&name),
        Some(
            EventName::ExecutionFailed
            | EventName::PlanRejected
            | EventName::StepFailed
            | EventName::ExecutionRejected
            | EventName::ExecutionStopping,
        ) => screen.alert(&name),
        Some(EventName::StepBlocked) => screen.waiting(&name),
        Some(_) | None => name,
    };
    format!("{name} {}", summary(event)).trim_end().to_owned()
}

/// What tells an event from others of its kind. By the names of members, so that an event newer
/// than this build says something too.
fn summary(event: &CloudEvent) -> String {
    const MEMBERS: [&str; 14] = [
        "stepId",
        "verdict",
        "riskTier",
        "tier",
        "stepCount",
        "deterministicHash",
        "cause",
        "reason",
        "note",
        "errorCode",
        "errorMessage",
        "code",
        "attempt",
        "text",
    ];
    let mut parts = Vec::new();
    if let Some(by) = event
        .data
        .get("by")
        .and_then(|by| by.get("id"))
        .and_then(Value::as_str)
    {
        parts.push(format!("by {by}"));
    }
    for member in MEMBERS {
        match event.data.get(member) {
            Some(Value::String(text)) if member == "stepId" => parts.push(text.clone()),
            Some(Value::String(text)) if member == "deterministicHash" => {
                parts.push(format!("hash {}", text.get(..12).unwrap_or(text)));
            }
            Some(Value::String(text)) => parts.push(text.clone()),
            Some(Value::Number(number)) => parts.push(format!("{member} {number}")),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => {}
        }
    }
    for finding in event
        .data
        .get("findings")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        parts.extend(
            finding
                .get("code")
                .and_then(Value::as_str)
                .map(str::to_owned),
        );
    }
    shortened(&plain(&parts.join(", ")), SUMMARY_CHARS_MAX)
}
