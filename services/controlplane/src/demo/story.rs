//! One intent from its words to its end: watched through the live feed, voted on where the
//! script says so, and told.

use contracts::{
    event::EventName,
    ids::ExecutionId,
    operations::{execution::ExecutionRecord, intent::SubmitOutput, trace::TraceEntry},
    plan::Finding,
    position::Positions,
    registry::OperationName,
};
use serde::Deserialize as _;
use serde_json::Value;

use super::script::{Answer, Scene, Script};
use crate::{
    api::{Api, Over},
    context::Context,
    execution,
    failure::{Failure, found},
    feed::{CloudEvent, Feed},
    screen::{Screen, count, plain, pretty},
    trace, vote,
};

/// Who asks, who votes, and who looks on.
pub struct Cast {
    submitter: Api,
    approver: Api,
    admin: Api,
}

/// How it went.
pub struct Told {
    pub record: ExecutionRecord,
    /// How many votes were cast.
    pub votes: usize,
}

impl Cast {
    pub fn of(context: &Context) -> Result<Self, Failure> {
        Ok(Self {
            submitter: Api::new(context, "submitter", Over::Http)?,
            approver: Api::new(context, "approver", Over::Http)?,
            admin: Api::new(context, "admin", Over::Http)?,
        })
    }
}

pub async fn submit(script: &Script, scene: &Scene, cast: &Cast) -> Result<ExecutionId, Failure> {
    let request = script.request(scene)?;
    let output: SubmitOutput = cast
        .submitter
        .ask(OperationName::IntentSubmit, &request)
        .await?;
    Ok(output.execution_id)
}

/// Follows it until someone has to vote; not so if it ends before.
pub async fn is_blocked(cast: &Cast, execution: ExecutionId) -> Result<bool, Failure> {
    let mut feed = Feed::of(&cast.admin, execution);
    while let Some(event) = feed.next().await? {
        if event.known() == Some(EventName::StepBlocked) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub async fn tell(
    script: &Script,
    scene: &Scene,
    cast: &Cast,
    screen: Screen,
) -> Result<Told, Failure> {
    screen.line(&format!("  {}", screen.faint(&scene.story)));
    let request = script.request(scene)?;
    let text = request
        .get("text")
        .and_then(Value::as_str)
        .unwrap_or_default();
    say(screen, "asked", &format!("“{}”", plain(text)));
    let execution = submit(script, scene, cast).await?;
    say(screen, "execution", &execution.to_string());

    let mut feed = Feed::of(&cast.admin, execution);
    let mut votes = 0;
    while let Some(event) = feed.next().await? {
        tell_event(screen, &event);
        if event.known() == Some(EventName::StepBlocked)
            && vote_on(scene, cast, execution, &event, feed.position(), screen).await?
        {
            votes += 1;
        }
    }
    let record = execution::record(&cast.admin, execution, feed.position()).await?;
    let entries = trace::entries(&cast.admin, execution, false, record.position)
        .await?
        .entries;
    tell_end(screen, &record.execution, &entries);
    Ok(Told {
        record: record.execution,
        votes,
    })
}

fn say(screen: Screen, topic: &str, text: &str) {
    if screen.is_json() {
        screen.note(topic, text);
    } else {
        screen.line(&format!(
            "  {} {text}",
            screen.bold(&format!("{topic:<10}"))
        ));
    }
}

fn tell_event(screen: Screen, event: &CloudEvent) {
    let text = |member: &str| plain(event.text(member).unwrap_or_default());
    let step = text("stepId");
    match event.known() {
        Some(EventName::PlanCompiled) => tell_plan(screen, event),
        Some(EventName::PlanVerified) => tell_verdict(screen, event),
        Some(EventName::PlanRejected) => {
            say(screen, "refused", &screen.alert(&text("cause")));
            let findings = list(event.data.get("findings")).iter();
            let findings: Vec<Finding> = findings
                .filter_map(|finding| Finding::deserialize(finding).ok())
                .collect();
            for line in found(findings.iter()) {
                say(screen, "", &line);
            }
        }
        Some(EventName::StepJudged) => {
            let verdict = screen.state(&text("verdict"));
            let tier = screen.state(&text("tier"));
            let line =
                format!("`{step}` again, now that its inputs are known: {verdict}, risk {tier}");
            say(screen, "judged", &line);
        }
        Some(EventName::StepBlocked) => {
            say(
                screen,
                "waits",
                &screen.waiting(&format!("`{step}`: {}", text("reason"))),
            );
        }
        Some(EventName::StepStarted) => say(screen, "runs", &format!("`{step}`")),
        Some(EventName::StepCompleted) => {
            let output = event.data.get("output").cloned().unwrap_or(Value::Null);
            say(
                screen,
                "did",
                &format!("`{step}`: {}", plain(&output.to_string())),
            );
        }
        Some(EventName::StepFailed) => {
            let why = format!("`{step}`: {} {}", text("errorCode"), text("errorMessage"));
            say(screen, "failed", &screen.alert(&why));
        }
        // Told elsewhere, or only in the trace.
        Some(_) | None => {}
    }
}

fn tell_plan(screen: Screen, event: &CloudEvent) {
    let steps = list(event.data.get("plan").and_then(|plan| plan.get("steps")));
    let hash = plain(event.text("deterministicHash").unwrap_or_default());
    let number = count(steps.len() as u64, "step");
    say(
        screen,
        "plan",
        &format!("{number}, hash {}", hash.get(..16).unwrap_or(&hash)),
    );
    for step in steps {
        let member = |name| plain(step.get(name).and_then(Value::as_str).unwrap_or_default());
        let uses = member("uses");
        let uses = uses.split('#').next().unwrap_or_default();
        let needs: Vec<_> = list(step.get("needs"))
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let after = if needs.is_empty() {
            String::new()
        } else {
            format!("  after {}", plain(&needs.join(", ")))
        };
        say(
            screen,
            "",
            &format!("{:<8} {uses}/{}{after}", member("id"), member("action")),
        );
    }
}

fn tell_verdict(screen: Screen, event: &CloudEvent) {
    let text = |member: &str| plain(event.text(member).unwrap_or_default());
    let verdict = screen.state(&text("verdict"));
    say(
        screen,
        "verdict",
        &format!("{verdict}, risk {}", screen.state(&text("riskTier"))),
    );
    let Some(Value::Object(steps)) = event.data.get("steps") else {
        return;
    };
    for (id, step) in steps {
        let verdict = plain(
            step.get("verdict")
                .and_then(Value::as_str)
                .unwrap_or_default(),
        );
        let reasons: Vec<_> = list(step.get("reasons"))
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let reasons = plain(&reasons.join("; "));
        say(
            screen,
            "",
            &format!("{:<8} {}: {reasons}", plain(id), screen.state(&verdict)),
        );
    }
}

/// Votes as the script says; a step that it does not know of is left waiting.
async fn vote_on(
    scene: &Scene,
    cast: &Cast,
    execution: ExecutionId,
    event: &CloudEvent,
    position: Option<Positions>,
    screen: Screen,
) -> Result<bool, Failure> {
    let step = event.text("stepId").unwrap_or_default();
    let Some(planned) = scene.votes.iter().find(|vote| vote.step.as_str() == step) else {
        return Err(Failure::Unsuccessful(format!(
            "`{step}` waits for a vote that the demonstration does not expect"
        )));
    };
    let ballot = vote::find(&cast.approver, execution, Some(&planned.step), position).await?;
    if let Some(seen) = &ballot.seen {
        say(
            screen,
            "inputs",
            pretty(&seen.inputs, "             ").trim_start(),
        );
    }
    let note = planned.note.clone();
    let said = format!("by {}: “{note}”", cast.approver.principal);
    match planned.vote {
        Answer::Approve => {
            vote::cast_for(&cast.approver, &ballot, Some(note)).await?;
            say(screen, "approved", &screen.good(&said));
        }
        Answer::Reject => {
            vote::cast_against(&cast.approver, &ballot, note).await?;
            say(screen, "rejected", &screen.alert(&said));
        }
    }
    Ok(true)
}

fn tell_end(screen: Screen, record: &ExecutionRecord, entries: &[TraceEntry]) {
    let failure = record
        .failure
        .as_ref()
        .map(|failure| format!(": {}", plain(&failure.code)));
    let text = format!(
        "{}{}",
        screen.state(record.status.as_str()),
        failure.unwrap_or_default()
    );
    say(screen, "end", &text);
    let took = match (entries.first(), entries.last()) {
        (Some(first), Some(last)) => last.timestamp.since_ms(first.timestamp),
        (Some(_) | None, None) | (None, Some(_)) => 0,
    };
    let summary = format!(
        "{} in {took} ms, each chained to the one before",
        count(entries.len() as u64, "event")
    );
    say(screen, "trace", &summary);
    let names: Vec<_> = entries
        .iter()
        .filter_map(|entry| entry.event.as_deref())
        .collect();
    screen.line(&screen.faint(&wrapped(&names.join(" → "), 100, "             ")));
}

/// Lines of about a width, broken at spaces.
fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let full = lines
            .last()
            .is_some_and(|line| line.len() + word.len() > width);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
        .iter()
        .map(|line| format!("{indent}{line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
