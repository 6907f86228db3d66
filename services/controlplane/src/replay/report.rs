//! What a replay found, for people and for programs.

use std::{fmt, ops::AddAssign};

use contracts::{ids::WorkspaceId, position::Position, subject::Subject};
use serde::Serialize;
use serde_json::Value;

use crate::screen::count;

/// How many differences, decisions that were not re-derived and unfinished executions are listed
/// each; all of them are counted.
pub(super) const LISTED_MAX: usize = 1000;

/// The longest value that is shown to people, in characters.
const SHOWN_CHARS_MAX: usize = 160;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub summary: Summary,
    /// Whether decisions were looked at: where they were not, a wrong one is no difference.
    pub decisions_rederived: bool,
    pub differences: Vec<Difference>,
    pub not_rederived: Vec<NotRederived>,
    /// Executions that had not ended where the log ends. They are in flight, which is no
    /// difference.
    pub unfinished: Vec<Unfinished>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub executions: u64,
    /// Skills, policies, holds and incidents.
    pub other_aggregates: u64,
    pub events: u64,
    /// Decisions of planner, verifier and executor that came out byte for byte as recorded.
    pub decisions: u64,
    /// What came from outside: submits, votes, workers' results. Where a decider admits it, it
    /// would admit it again.
    pub inputs: u64,
    pub not_rederived: u64,
    pub differences: u64,
    pub unfinished: u64,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.executions += other.executions;
        self.other_aggregates += other.other_aggregates;
        self.events += other.events;
        self.decisions += other.decisions;
        self.inputs += other.inputs;
        self.not_rederived += other.not_rederived;
        self.differences += other.differences;
        self.unfinished += other.unfinished;
    }
}

/// Where the log is not what the deciders of this binary would have written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    #[serde(flatten)]
    pub place: Place,
    pub what: What,
    pub message: String,
    /// What is recorded otherwise, by JSON pointer into the payload or `/headers`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotRederived {
    #[serde(flatten)]
    pub place: Place,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unfinished {
    pub workspace: WorkspaceId,
    pub execution: String,
    pub version: u64,
    pub status: String,
}

/// One event of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    pub stream: String,
    pub sequence: u64,
    /// Empty where the subject cannot be read.
    pub workspace: String,
    /// `execution`, `skill` and so on.
    pub aggregate: String,
    /// The execution, the skill's key, or `active`.
    pub id: String,
    pub version: u64,
    pub event: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A message that is not an event.
    Unreadable,
    /// Messages of a stream are not there.
    Missing,
    /// Versions do not count on.
    Version,
    /// `ce-prevhash` is not the hash of the event before.
    Chain,
    /// `ce-id` does not follow from aggregate, version and cause.
    Id,
    /// `ce-time` goes back, or is not the time of the decision.
    Time,
    /// `ce-source` may not write this event.
    Writer,
    /// Another header.
    Header,
    /// The payload is not the encoding of what it says.
    Encoding,
    /// The event is illegal in its state.
    Illegal,
    /// The log does not hold the catalogue that was decided on, or it was not the one at that time.
    Catalogue,
    /// The deciders decide otherwise.
    Decision,
    /// What was asked from outside would be refused, or be recorded otherwise.
    Request,
    /// The vote would be refused.
    Vote,
    /// The result of an attempt would be refused, or be recorded otherwise.
    Outcome,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub path: String,
    /// Absent where there is nothing at the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Value>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            summary: Summary::default(),
            decisions_rederived: true,
            differences: Vec::new(),
            not_rederived: Vec::new(),
            unfinished: Vec::new(),
        }
    }
}

impl Report {
    /// 0: everything came out as recorded. 1: there are differences. 2: some decisions were made
    /// by rules that this binary does not have.
    pub fn exit_code(&self) -> u8 {
        if self.summary.differences > 0 {
            1
        } else if self.summary.not_rederived > 0 {
            2
        } else {
            0
        }
    }
}

impl Place {
    pub(super) fn of(position: Position, subject: &Subject) -> Self {
        let aggregate = &subject.aggregate;
        Self {
            stream: position.stream.name(),
            sequence: position.sequence,
            workspace: aggregate.workspace().to_string(),
            aggregate: aggregate.kind().as_str().to_owned(),
            id: aggregate.id().to_owned(),
            version: subject.version,
            event: subject.event.to_string(),
        }
    }

    /// A message whose subject is not one of the log's, or that is not there.
    pub(super) fn nowhere(position: Position, subject: &str) -> Self {
        Self {
            stream: position.stream.name(),
            sequence: position.sequence,
            workspace: String::new(),
            aggregate: String::new(),
            id: subject.to_owned(),
            version: 0,
            event: String::new(),
        }
    }
}

impl What {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Missing => "missing",
            Self::Version => "version",
            Self::Chain => "chain",
            Self::Id => "id",
            Self::Time => "time",
            Self::Writer => "writer",
            Self::Header => "header",
            Self::Encoding => "encoding",
            Self::Illegal => "illegal",
            Self::Catalogue => "catalogue",
            Self::Decision => "decision",
            Self::Request => "request",
            Self::Vote => "vote",
            Self::Outcome => "outcome",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.version == 0 && self.id.is_empty() {
            return write!(f, "{} at {}", self.stream, self.sequence);
        }
        if self.version == 0 {
            return write!(f, "{} at {}: `{}`", self.stream, self.sequence, self.id);
        }
        write!(
            f,
            "{}/{}/{} version {} `{}`",
            self.workspace, self.aggregate, self.id, self.version, self.event
        )
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            what,
            message,
            changes,
        } = self;
        write!(f, "{place}: {}: {message}", what.as_str())?;
        for change in changes {
            write!(
                f,
                "\n    {}: expected {}, found {}",
                change.path,
                shown(change.expected.as_ref()),
                shown(change.found.as_ref())
            )?;
        }
        Ok(())
    }
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else {
        return "nothing".to_owned();
    };
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = &self.summary;
        let not_done = if self.decisions_rederived {
            "not re-derived"
        } else {
            "not folded"
        };
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        if let Some(number) = left_out(summary.differences, self.differences.len()) {
            writeln!(f, "… and {}", count(number, "more difference"))?;
        }
        for NotRederived { place, reason } in &self.not_rederived {
            writeln!(f, "{place}: {not_done}: {reason}")?;
        }
        if let Some(number) = left_out(summary.not_rederived, self.not_rederived.len()) {
            writeln!(f, "… and {number} more {not_done}")?;
        }
        for execution in &self.unfinished {
            let Unfinished {
                workspace,
                execution,
                version,
                status,
            } = execution;
            writeln!(
                f,
                "{workspace}/execution/{execution} version {version}: unfinished: {status}"
            )?;
        }
        if let Some(number) = left_out(summary.unfinished, self.unfinished.len()) {
            writeln!(f, "… and {number} more unfinished")?;
        }
        write!(
            f,
            "{} and {}, {}: ",
            count(summary.executions, "execution"),
            count(summary.other_aggregates, "other aggregate"),
            count(summary.events, "event"),
        )?;
        if self.decisions_rederived {
            let decisions = count(summary.decisions, "decision");
            let inputs = count(summary.inputs, "input");
            write!(f, "{decisions} re-derived, {inputs} from outside, ")?;
        } else {
            f.write_str("chain and folds checked, ")?;
        }
        let differences = count(summary.differences, "difference");
        writeln!(
            f,
            "{} {not_done}, {differences}, {} unfinished",
            summary.not_rederived, summary.unfinished
        )?;
        if !self.decisions_rederived {
            writeln!(
                f,
                "decisions were not re-derived: whether they are right is not known"
            )?;
        }
        Ok(())
    }
}

/// How many were counted and are not listed, where there are any.
fn left_out(counted: u64, listed: usize) -> Option<u64> {
    counted
        .checked_sub(listed as u64)
        .filter(|number| *number > 0)
}
