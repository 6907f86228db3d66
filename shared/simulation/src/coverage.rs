//! What happened how often: a cell that never occurs is a hole in the world.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use contracts::event::EventName;
use domain::execution::{Execution, Known, Stage, StepState};
use serde_json::{Value, json};

use crate::script::{Action, Point};

#[derive(Debug, Clone, Default)]
pub struct Coverage {
    /// By verb.
    pub actions: BTreeMap<String, u64>,
    pub events: BTreeMap<String, u64>,
    /// By command, the state it was asked in, and the answer.
    pub commands: BTreeMap<(String, String, String), u64>,
    pub moods: BTreeMap<String, u64>,
    /// Where processes died.
    pub deaths: BTreeMap<String, u64>,
    /// How executions ended.
    pub ends: BTreeMap<String, u64>,
}

impl Coverage {
    pub fn add(&mut self, other: &Self) {
        fn merge<K: Ord + Clone>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (key, count) in from {
                *into.entry(key.clone()).or_default() += count;
            }
        }
        merge(&mut self.actions, &other.actions);
        merge(&mut self.events, &other.events);
        merge(&mut self.commands, &other.commands);
        merge(&mut self.moods, &other.moods);
        merge(&mut self.deaths, &other.deaths);
        merge(&mut self.ends, &other.ends);
    }
}

impl Coverage {
    pub fn to_json(&self) -> Value {
        let commands: Vec<Value> = self
            .commands
            .iter()
            .map(|((command, state, answer), count)| {
                json!({ "command": command, "state": state, "answer": answer, "count": count })
            })
            .collect();
        json!({
            "actions": self.actions,
            "events": self.events,
            "commands": commands,
            "workers": self.moods,
            "deaths": self.deaths,
            "ends": self.ends,
        })
    }
}

pub fn count(into: &mut BTreeMap<String, u64>, what: &str) {
    match into.get_mut(what) {
        Some(count) => *count += 1,
        None => {
            into.insert(what.to_owned(), 1);
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = |title: &str, rows: &BTreeMap<String, u64>| {
            writeln!(f, "{title}")?;
            for (what, count) in rows {
                writeln!(f, "  {count:>10}  {what}")?;
            }
            Ok(())
        };
        table("actions", &self.actions)?;
        table("events", &self.events)?;
        table("ends of executions", &self.ends)?;
        table("what workers did", &self.moods)?;
        table("where processes died", &self.deaths)?;
        writeln!(
            f,
            "commands, by the state they were asked in and the answer"
        )?;
        for ((command, state, answer), count) in &self.commands {
            writeln!(f, "  {count:>10}  {command:<28} {state:<24} {answer}")?;
        }
        Ok(())
    }
}

/// The kinds of states in which a command may be asked for.
pub const PHASES: [&str; 25] = [
    "nothing",
    "received",
    "awaiting a draft",
    "drafted",
    "draft refused",
    "compiled",
    "verified",
    "verified, by hand",
    "verified, blocked",
    "running, blocked",
    "running, proposed",
    "running, started",
    "running, waits",
    "running, accepted",
    "running, to retry",
    "running, between",
    "stopping, in flight",
    "stopping",
    "rejected",
    "completed",
    "observed",
    "failed",
    "cancelled",
    "paused",
    "corrupt",
];

pub fn phase(state: &Execution) -> &'static str {
    match state {
        Execution::NeverReceived => "nothing",
        Execution::Corrupt(_) => "corrupt",
        Execution::Known(known) => known_phase(known),
    }
}

fn known_phase(known: &Known) -> &'static str {
    use contracts::events::executor::{CompletionOutcome, FailureCode};
    match &known.stage {
        Stage::Rejected { .. } => return "rejected",
        Stage::Completed { outcome, .. } => {
            return match outcome {
                CompletionOutcome::Succeeded => "completed",
                CompletionOutcome::Observed => "observed",
            };
        }
        Stage::Failed { stop, .. } => {
            return if stop.code == FailureCode::Cancelled {
                "cancelled"
            } else {
                "failed"
            };
        }
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. }
        | Stage::Verified(_)
        | Stage::Running(_) => {}
    }
    if known.stop.is_some() {
        let in_flight = known.run().is_some_and(domain::execution::Run::in_flight);
        return if in_flight {
            "stopping, in flight"
        } else {
            "stopping"
        };
    }
    match &known.stage {
        Stage::Received => "received",
        Stage::AwaitingDraft { .. } => "awaiting a draft",
        Stage::Drafted { .. } => "drafted",
        Stage::DraftRefused { .. } => "draft refused",
        Stage::Compiled { .. } => "compiled",
        Stage::Verified(verified) => {
            if verified.judged.verdict.verdict == contracts::plan::Verdict::Blocked {
                "verified, blocked"
            } else if verified.mode(&known.intent).is_none() {
                "verified, by hand"
            } else {
                "verified"
            }
        }
        Stage::Running(run) if run.paused => "paused",
        Stage::Running(run) => {
            let any = |is: fn(&StepState) -> bool| run.steps.values().any(|step| is(&step.state));
            if run.steps.values().any(|step| step.open_block().is_some()) {
                "running, blocked"
            } else if any(|state| matches!(state, StepState::Proposed { .. })) {
                "running, proposed"
            } else if any(|state| matches!(state, StepState::RetryWait { .. })) {
                "running, to retry"
            } else if run.steps.iter().any(|(id, step)| {
                matches!(step.state, StepState::Started(_))
                    && (*id.as_str() == *"long" || *id.as_str() == *"short")
            }) {
                "running, waits"
            } else if any(|state| matches!(state, StepState::Accepted { .. })) {
                "running, accepted"
            } else if any(|state| matches!(state, StepState::Started(_))) {
                "running, started"
            } else {
                "running, between"
            }
        }
        Stage::Rejected { .. } | Stage::Completed { .. } | Stage::Failed { .. } => "ended",
    }
}

/// A start that takes an attempt over, counted beside the others.
pub const TAKEOVER: &str = "execution.step.started (takeover)";

/// Commands to one execution, as they are counted.
const COMMANDS: [&str; 13] = [
    "intent.submit",
    "intent.submit (other body)",
    "plan.compile",
    "plan.compile (draft)",
    "plan.verify",
    "execution.start",
    "execution.approve",
    "execution.reject",
    "execution.cancel",
    "execution.pause",
    "execution.resume",
    "execution.retry",
    "execution.abort",
];

/// What nobody decides yet, or what this world has no reason for.
const UNREACHABLE_EVENTS: [EventName; 6] = [
    EventName::StepSkipped,
    EventName::StepCompensated,
    EventName::HoldPlaced,
    EventName::HoldLifted,
    EventName::IncidentRaised,
    EventName::IncidentResolved,
];

impl Coverage {
    /// What never occurred, and could have.
    pub fn holes(&self) -> Vec<String> {
        let mut holes = Vec::new();
        for verb in Action::VERBS {
            if !self.actions.contains_key(verb) {
                holes.push(format!("nobody did `{verb}`"));
            }
        }
        for point in Point::ALL {
            if !self.deaths.contains_key(point.as_str()) {
                holes.push(format!("no process died at `{point}`"));
            }
        }
        for event in EventName::ALL {
            let never = !self.events.contains_key(event.as_str());
            if never && !UNREACHABLE_EVENTS.contains(&event) {
                holes.push(format!("`{event}` was never stored"));
            }
        }
        if !self.events.contains_key(TAKEOVER) {
            holes.push("no attempt was taken over".to_owned());
        }
        let asked: BTreeSet<(&str, &str)> = self
            .commands
            .keys()
            .map(|(command, state, _)| (command.as_str(), state.as_str()))
            .collect();
        for command in COMMANDS {
            for phase in PHASES {
                if is_reachable(command, phase) && !asked.contains(&(command, phase)) {
                    holes.push(format!("nobody asked for `{command}` in state `{phase}`"));
                }
            }
        }
        holes
    }
}

fn is_reachable(command: &str, phase: &str) -> bool {
    match phase {
        // No history gets there; `schemas/answers.md` has their answers.
        "corrupt" => false,
        // Only what has a key can be named before it is there.
        "nothing" => command == "intent.submit",
        _ => true,
    }
}
