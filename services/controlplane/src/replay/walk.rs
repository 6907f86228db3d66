//! Walks along every aggregate of the log at once, each event derived from the state before it.
//!
//! What is recorded is what is folded: a difference is named where it is, and what follows from it
//! is judged by what was recorded.

use std::{collections::BTreeMap, sync::Arc};

use contracts::{
    envelope::{Attributes, Envelope},
    event::Event,
    position::{Position, StreamId},
    record::{Head, Recorded},
    subject::{AggregateId, AggregateKind, InvalidSubject, Subject},
};
use domain::{
    execution::{Execution, Known, Stage},
    policy::Policy,
    skill::Skill,
};
use host::{aggregate::Aggregate as _, engine::chain, judge::Judge};
use journal::stored::Entry;

use super::{
    Selection,
    derived::{Derived, Memory, decided_by_others},
    diff, execution, installed,
    integrity::{self, Fault},
    moment::{Moment, Timeline},
    past::Past,
    report::{Place, Report, Unfinished, What},
};

pub(super) struct Walk<'a> {
    selection: &'a Selection,
    /// Whether every message of every stream is taken, and not only those of one execution.
    whole: bool,
    reached: BTreeMap<StreamId, u64>,
    judge: Arc<Judge>,
    past: Past,
    /// INVARIANT: of what has ended for good only the head is kept.
    histories: BTreeMap<AggregateId, History>,
    report: Report,
}

/// One aggregate, as far as it was read.
struct History {
    head: Option<Head>,
    timeline: Timeline,
    fold: Fold,
}

enum Fold {
    Execution(Execution),
    Skill(Skill),
    Policy(Policy),
    /// Holds and incidents: nothing is derived from them.
    Unfolded,
    /// Nothing may follow.
    Ended,
    /// Nothing can be derived from it any more.
    Broken(&'static str),
}

const BROKEN: &str = "the history before it does not hold together";
const UNKNOWN: &str = "an event before it is not known to this binary";

impl<'a> Walk<'a> {
    pub fn new(selection: &'a Selection, whole: bool, judge: Arc<Judge>) -> Self {
        Self {
            selection,
            whole,
            reached: BTreeMap::new(),
            judge,
            past: Past::new(),
            histories: BTreeMap::new(),
            report: Report::default(),
        }
    }

    /// Takes the next message of its stream; all of the catalogue comes before anything else.
    pub fn take(&mut self, entry: Entry) {
        self.no_gap(entry.position);
        let subject = match entry.raw.subject.parse::<Subject>() {
            Ok(subject) => subject,
            Err(error) => return self.unknown_subject(&entry, &error),
        };
        if entry.position.stream == StreamId::Catalogue {
            match &entry.recorded {
                Ok(recorded) => {
                    let sequence = entry.position.sequence;
                    self.past.push(sequence, recorded.clone(), entry.stored_at);
                }
                Err(_) => self.past.unknown(entry.position.sequence),
            }
        }
        if !self.selection.takes(&subject.aggregate) {
            return;
        }
        self.report.summary.events += 1;
        let mut history = self.history(&subject.aggregate);
        let place = Place::of(
            entry.position,
            &subject.aggregate,
            subject.version,
            subject.event,
        );
        match (entry.recorded, entry.raw.envelope()) {
            (Ok(recorded), Ok(envelope)) => {
                let moment = history.timeline.take(&recorded, entry.stored_at);
                self.event(&mut history, &place, moment, &recorded, &envelope);
            }
            (Err(error), envelope) => {
                let why = chain(&error);
                self.report
                    .differs(&place, What::Unreadable, why, Vec::new());
                // Its hash is known all the same, so the chain goes on.
                history.head = envelope.ok().and_then(|envelope| head(&envelope));
                history.fold = Fold::Broken(BROKEN);
            }
            (Ok(_), Err(error)) => {
                let why = chain(&error);
                self.report
                    .differs(&place, What::Unreadable, why, Vec::new());
                history.fold = Fold::Broken(BROKEN);
            }
        }
        self.histories.insert(subject.aggregate, history);
    }

    /// Nothing is ever deleted from a stream, so its sequences count on.
    fn no_gap(&mut self, position: Position) {
        let Position { stream, sequence } = position;
        if !self.whole && stream != StreamId::Catalogue {
            return;
        }
        let due = self.reached.insert(stream, sequence).unwrap_or(0) + 1;
        if sequence > due {
            let first = Position {
                stream,
                sequence: due,
            };
            let last = sequence - 1;
            let why = format!("`{}` lacks {due} to {last}", stream.name());
            let place = Place::nowhere(first, "");
            self.report.differs(&place, What::Missing, why, Vec::new());
        }
    }

    /// What is left when the log ends.
    pub fn finish(mut self) -> Report {
        for (aggregate, history) in &self.histories {
            if aggregate.kind() != AggregateKind::Execution {
                continue;
            }
            let Fold::Execution(Execution::Known(known)) = &history.fold else {
                continue;
            };
            if !known.is_ended() {
                self.report.unfinished(Unfinished {
                    workspace: aggregate.workspace().clone(),
                    execution: aggregate.id().to_owned(),
                    version: known.head.version,
                    status: known.status().to_string(),
                });
            }
        }
        self.report
    }

    fn history(&mut self, aggregate: &AggregateId) -> History {
        if let Some(history) = self.histories.remove(aggregate) {
            return history;
        }
        let summary = &mut self.report.summary;
        match aggregate.kind() {
            AggregateKind::Execution => summary.executions += 1,
            AggregateKind::Incident
            | AggregateKind::Skill
            | AggregateKind::Policy
            | AggregateKind::Hold
            | AggregateKind::Schedule => summary.other_aggregates += 1,
        }
        History {
            head: None,
            timeline: Timeline::default(),
            fold: Fold::of(aggregate.kind()),
        }
    }

    fn unknown_subject(&mut self, entry: &Entry, error: &InvalidSubject) {
        if entry.position.stream == StreamId::Catalogue {
            self.past.unknown(entry.position.sequence);
        }
        let aggregate = unknown_events_aggregate(&entry.raw.subject);
        if let Some(aggregate) = &aggregate {
            if !self.selection.takes(aggregate) {
                return;
            }
            let mut history = self.history(aggregate);
            history.fold = Fold::Broken(UNKNOWN);
            history.head = None;
            self.histories.insert(aggregate.clone(), history);
        }
        self.report.summary.events += 1;
        let place = Place::nowhere(entry.position, &entry.raw.subject);
        match error {
            InvalidSubject::UnknownEvent(_) | InvalidSubject::Aggregate(_) => {
                self.report
                    .not_rederived(&place, "its kind is not known to this binary");
            }
            InvalidSubject::Shape(_) | InvalidSubject::Shard(_) => {
                let why = error.to_string();
                self.report
                    .differs(&place, What::Unreadable, why, Vec::new());
            }
        }
    }

    fn event(
        &mut self,
        history: &mut History,
        place: &Place,
        moment: Moment,
        recorded: &Recorded,
        envelope: &Envelope,
    ) {
        if !self.follows(history, place, recorded, envelope) {
            history.fold = Fold::Broken(BROKEN);
        }
        history.head = Some(recorded.head());
        let others = decided_by_others(&recorded.event);
        match &history.fold {
            Fold::Broken(why) => return self.report.not_rederived(place, *why),
            Fold::Ended => {
                let why = "nothing follows the end";
                self.report.differs(place, What::Illegal, why, Vec::new());
                history.fold = Fold::Broken(BROKEN);
                return;
            }
            Fold::Execution(_) | Fold::Skill(_) | Fold::Policy(_) | Fold::Unfolded => {}
        }
        if let Some(reason) = &others {
            self.report.not_rederived(place, reason);
        } else {
            self.derive(&history.fold, place, moment, recorded, envelope);
        }
        let fold = std::mem::replace(&mut history.fold, Fold::Ended);
        history.fold = match fold.evolve(recorded) {
            Ok(fold) => fold,
            Err(why) => {
                // What others decided, others may also fold otherwise.
                if others.is_none() {
                    self.report.differs(place, What::Illegal, why, Vec::new());
                }
                Fold::Broken(BROKEN)
            }
        };
        if matches!(history.fold, Fold::Ended | Fold::Broken(_)) {
            history.timeline = Timeline::default();
        }
    }

    /// Whether it is the next version. Faults of its headers are named; they break nothing.
    fn follows(
        &mut self,
        history: &History,
        place: &Place,
        recorded: &Recorded,
        envelope: &Envelope,
    ) -> bool {
        let head = history.head.as_ref();
        let after_unknown = head.is_none() && matches!(history.fold, Fold::Broken(_));
        if after_unknown {
            return true;
        }
        let expected = head.map_or(1, |head| head.version + 1);
        let found = recorded.version();
        if found != expected {
            let why = format!("version {found} stands where {expected} is due");
            self.report.differs(place, What::Version, why, Vec::new());
            return false;
        }
        let trace = history.fold.trace();
        for fault in integrity::faults(head, recorded, envelope, trace) {
            let Fault {
                what,
                message,
                changes,
            } = fault;
            self.report.differs(place, what, message, changes);
        }
        true
    }

    fn derive(
        &mut self,
        fold: &Fold,
        place: &Place,
        moment: Moment,
        recorded: &Recorded,
        envelope: &Envelope,
    ) {
        let least = match fold {
            Fold::Execution(state) => state.catalogue(),
            // In the catalogue itself everything stands after what it was decided on.
            Fold::Skill(_) | Fold::Policy(_) | Fold::Unfolded | Fold::Ended | Fold::Broken(_) => 0,
        };
        let memory = &mut Memory {
            judge: &self.judge,
            past: &mut self.past,
            moment,
            least,
        };
        let derived = match fold {
            Fold::Execution(state) => execution::derive(state, recorded, memory),
            Fold::Skill(state) => installed::of_skill(state, recorded, memory),
            Fold::Policy(state) => installed::of_policy(state, recorded, memory),
            Fold::Unfolded | Fold::Ended | Fold::Broken(_) => Derived::Taken,
        };
        let summary = &mut self.report.summary;
        match derived {
            Derived::Decision(event) => {
                if self.is_same(&event, What::Decision, place, recorded, envelope) {
                    self.report.summary.decisions += 1;
                }
            }
            Derived::Input(what, event) => {
                if self.is_same(&event, what, place, recorded, envelope) {
                    self.report.summary.inputs += 1;
                }
            }
            Derived::Taken => {
                summary.inputs += 1;
                self.is_same(&recorded.event, What::Encoding, place, recorded, envelope);
            }
            Derived::Nothing(what, why) => self.report.differs(place, what, why, Vec::new()),
            Derived::NotRederived(reason) => self.report.not_rederived(place, reason),
        }
    }

    /// Compares byte by byte; where bytes differ, says what they say.
    fn is_same(
        &mut self,
        derived: &Event,
        what: What,
        place: &Place,
        recorded: &Recorded,
        envelope: &Envelope,
    ) -> bool {
        let same_bytes = derived
            .encode()
            .is_ok_and(|bytes| bytes.as_slice() == envelope.payload.as_ref());
        let (name, found) = (derived.name(), recorded.event.name());
        if name != found {
            let why = format!("`{name}` is due");
            self.report.differs(place, what, why, Vec::new());
            return false;
        }
        if same_bytes {
            return true;
        }
        let json = |event: &Event| event.to_json().unwrap_or_default();
        let changes = diff::changes(&json(derived), &json(&recorded.event));
        let (what, why) = if changes.is_empty() {
            (What::Encoding, "it is not encoded as it would be")
        } else if what == What::Decision {
            (what, "it comes out otherwise")
        } else {
            (what, "it would be recorded otherwise")
        };
        self.report.differs(place, what, why, changes);
        false
    }
}

impl Fold {
    fn of(kind: AggregateKind) -> Self {
        match kind {
            AggregateKind::Execution => Self::Execution(Execution::NeverReceived),
            AggregateKind::Skill => Self::Skill(Skill::default()),
            AggregateKind::Policy => Self::Policy(Policy::default()),
            AggregateKind::Incident | AggregateKind::Hold | AggregateKind::Schedule => {
                Self::Unfolded
            }
        }
    }

    /// The state after the event, or why it is illegal.
    fn evolve(self, recorded: &Recorded) -> Result<Self, String> {
        match self {
            Self::Execution(state) => match state.evolve(recorded) {
                Execution::Corrupt(corruption) => Err(corruption.reason),
                Execution::Known(known) if nothing_follows(&known) => Ok(Self::Ended),
                state @ (Execution::NeverReceived | Execution::Known(_)) => {
                    Ok(Self::Execution(state))
                }
            },
            Self::Skill(state) => Ok(Self::Skill(state.evolve(recorded))),
            Self::Policy(state) => Ok(Self::Policy(state.evolve(recorded))),
            Self::Unfolded | Self::Ended | Self::Broken(_) => Ok(self),
        }
    }

    fn trace(&self) -> Option<&str> {
        match self {
            Self::Execution(Execution::Known(known)) => known.traceparent.as_deref(),
            Self::Execution(_)
            | Self::Skill(_)
            | Self::Policy(_)
            | Self::Unfolded
            | Self::Ended
            | Self::Broken(_) => None,
        }
    }
}

/// Whether it has ended, and may not be tried again either.
fn nothing_follows(known: &Known) -> bool {
    match &known.stage {
        Stage::Rejected { .. } | Stage::Completed { .. } => true,
        Stage::Failed { stop, run, .. } => run.is_none() || !stop.code.may_retry(),
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. }
        | Stage::Verified(_)
        | Stage::Running(_) => false,
    }
}

/// The tail of an aggregate after an event that does not decode.
fn head(envelope: &Envelope) -> Option<Head> {
    let attributes = Attributes::from_headers(&envelope.headers).ok()?;
    Some(Head {
        version: envelope.subject.version,
        hash: envelope.hash(),
        time: attributes.time,
    })
}

/// The aggregate of a subject whose event is unknown.
fn unknown_events_aggregate(subject: &str) -> Option<AggregateId> {
    let tokens: Vec<&str> = subject.splitn(6, '.').collect();
    let (_, prefix) = tokens.split_last()?;
    AggregateId::from_prefix(&prefix.join(".")).ok()
}
