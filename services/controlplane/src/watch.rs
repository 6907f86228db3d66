//! Following an execution, one line an event.

use contracts::{event::EventName, ids::ExecutionId, time::Timestamp};
use serde_json::Value;

use crate::{
    command::Session,
    failure::Failure,
    feed::{CloudEvent, Feed},
    screen::{Screen, plain, shortened},
};

/// How much of what an event says fits on its line.
const SUMMARY_CHARS_MAX: usize = 100;

/// Prints until the execution ends, and fails where it ends otherwise than completed.
pub async fn follow(session: &Session, execution: ExecutionId) -> Result<(), Failure> {
    let screen = session.screen;
    let mut feed = Feed::new(&session.api, execution);
    let mut begun = None;
    let mut ended = None;
    while let Some(event) = feed.next().await? {
        let first = *begun.get_or_insert(event.time);
        screen.answer(&event, || line(screen, &event, first));
        if event.known() == Some(EventName::StepBlocked) {
            let step = event.text("stepId").unwrap_or_default();
            screen.line(&screen.waiting(&format!(
                "        waits for a vote: {} execution approve {execution} {}",
                session.typed,
                plain(step)
            )));
        }
        ended = event.known();
    }
    match ended {
        Some(EventName::ExecutionCompleted) => Ok(()),
        Some(_) | None => Err(Failure::Unsuccessful(
            "the execution did not complete".to_owned(),
        )),
    }
}

/// An event in one line.
pub fn line(screen: Screen, event: &CloudEvent, first: Timestamp) -> String {
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
    let after = event.time.since_ms(first);
    format!(
        "{}  {name} {}",
        screen.faint(&format!("{after:>6} ms")),
        summary(event)
    )
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
        let value = event.data.get(member);
        // A second verdict is a document of its own.
        let value = value.and_then(|value| value.get(member)).or(value);
        match value {
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
