//! Walks along aggregates of the log, each event derived from the state before it.
//!
//! What is recorded is what is folded: a difference is named where it is, and what follows from it
//! is judged by what was recorded.

use std::sync::Arc;

use contracts::{
    envelope::{Attributes, Envelope},
    event::Event,
    position::{Position, StreamId},
    record::{Head, Recorded},
    subject::{AggregateId, AggregateKind, InvalidSubject, Subject},
};
use host::{aggregate::Aggregate as _, engine::chain, judge::Judge};
use journal::stored::{Entry, Raw, Unreadable};

use super::{
    Check, Selection,
    derived::{Derived, Memory, decided_by_others},
    diff, execution,
    findings::Findings,
    histories::{Fold, Histories, History},
    installed,
    integrity::{self, Fault},
    moment::{Moment, Timeline},
    past::Past,
    report::{Place, What},
};

pub(super) struct Walk {
    selection: Selection,
    check: Check,
    judge: Arc<Judge>,
    past: Past,
    histories: Histories,
    pub findings: Findings,
}

/// An event, and where it stands.
struct Found<'a> {
    position: Position,
    recorded: &'a Recorded,
    raw: &'a Raw,
}

const BROKEN: &str = "the history before it does not hold together";
const UNKNOWN: &str = "an event before it is not known to this binary";

impl Walk {
    pub fn new(selection: &Selection, check: Check, judge: Arc<Judge>) -> Self {
        Self {
            selection: selection.clone(),
            check,
            judge,
            past: Past::new(),
            histories: Histories::default(),
            findings: Findings::default(),
        }
    }

    /// Another one, along other aggregates, that has the catalogue as this one has it.
    pub fn beside(&self) -> Self {
        Self {
            past: self.past.clone(),
            ..Self::new(&self.selection, self.check, Arc::clone(&self.judge))
        }
    }

    /// Takes the next message, the `number`th of the log; all of the catalogue comes before
    /// anything else.
    pub fn take(&mut self, number: u64, entry: &Entry) {
        self.findings.at(number);
        match &entry.recorded {
            Ok(recorded) => self.readable(entry, recorded),
            Err(error) => match entry.raw.subject.parse() {
                Ok(subject) => self.unreadable(entry, &subject, error),
                Err(error) => self.unknown_subject(entry, &error),
            },
        }
    }

    fn readable(&mut self, entry: &Entry, recorded: &Recorded) {
        let position = entry.position;
        if position.stream == StreamId::Catalogue && self.check == Check::Everything {
            self.past
                .push(position.sequence, recorded.clone(), entry.stored_at);
        }
        let aggregate = &recorded.subject.aggregate;
        if !self.selection.takes(aggregate) {
            return;
        }
        self.findings.summary.events += 1;
        let mut history = self.history(aggregate);
        let found = Found {
            position,
            recorded,
            raw: &entry.raw,
        };
        let moment = (self.check == Check::Everything)
            .then(|| history.timeline.take(recorded, entry.stored_at));
        self.event(&mut history, &found, moment);
        self.histories.put(aggregate, history);
    }

    fn unreadable(&mut self, entry: &Entry, subject: &Subject, error: &Unreadable) {
        if entry.position.stream == StreamId::Catalogue {
            self.past.unknown(entry.position.sequence);
        }
        if !self.selection.takes(&subject.aggregate) {
            return;
        }
        self.findings.summary.events += 1;
        let mut history = self.history(&subject.aggregate);
        let place = Place::of(entry.position, subject);
        self.findings
            .differs(place, What::Unreadable, chain(error), Vec::new());
        // Its hash is known all the same, so the chain goes on.
        let envelope = entry.raw.envelope().ok();
        history.head = envelope.and_then(|envelope| head(&envelope));
        history.fold = Fold::Broken(BROKEN);
        self.histories.put(&subject.aggregate, history);
    }

    /// What is left when the log ends.
    pub fn finish(mut self) -> Findings {
        for (aggregate, known) in self.histories.unfinished() {
            let status = known.status().to_string();
            self.findings
                .unfinished(aggregate, known.head.version, status);
        }
        self.findings
    }

    fn history(&mut self, aggregate: &AggregateId) -> Box<History> {
        if let Some(history) = self.histories.take(aggregate) {
            return history;
        }
        let summary = &mut self.findings.summary;
        match aggregate.kind() {
            AggregateKind::Execution => summary.executions += 1,
            AggregateKind::Incident
            | AggregateKind::Skill
            | AggregateKind::Policy
            | AggregateKind::Hold
            | AggregateKind::Schedule => summary.other_aggregates += 1,
        }
        Box::new(History::new(aggregate.kind()))
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
            self.histories.put(aggregate, history);
        }
        self.findings.summary.events += 1;
        let place = Place::nowhere(entry.position, &entry.raw.subject);
        match error {
            InvalidSubject::UnknownEvent(_) | InvalidSubject::Aggregate(_) => {
                self.findings
                    .not_rederived(place, "its kind is not known to this binary");
            }
            InvalidSubject::Shape(_) | InvalidSubject::Shard(_) => {
                let why = error.to_string();
                self.findings
                    .differs(place, What::Unreadable, why, Vec::new());
            }
        }
    }

    /// `moment` is given where it is to be derived.
    fn event(&mut self, history: &mut History, found: &Found<'_>, moment: Option<Moment>) {
        let recorded = found.recorded;
        if !self.follows(history, found) {
            history.fold = Fold::Broken(BROKEN);
        }
        history.head = Some(recorded.head());
        match &history.fold {
            Fold::Broken(why) => return self.findings.not_rederived(found.place(), *why),
            Fold::Ended => {
                let why = "nothing follows the end";
                self.differs(found, What::Illegal, why);
                history.fold = Fold::Broken(BROKEN);
                return;
            }
            Fold::Execution(_) | Fold::Skill(_) | Fold::Policy(_) | Fold::Unfolded => {}
        }
        let others = decided_by_others(&recorded.event);
        match (moment, &others) {
            (Some(_), Some(reason)) => self.findings.not_rederived(found.place(), reason),
            (Some(moment), None) => self.derive(&history.fold, found, moment),
            (None, _) => {}
        }
        let fold = std::mem::replace(&mut history.fold, Fold::Ended);
        history.fold = match fold.evolve(recorded) {
            Ok(fold) => fold,
            Err(why) => {
                // What others decided, others may also fold otherwise.
                if others.is_none() {
                    self.differs(found, What::Illegal, why);
                } else if moment.is_none() {
                    self.findings.not_rederived(found.place(), why);
                }
                Fold::Broken(BROKEN)
            }
        };
        if matches!(history.fold, Fold::Ended | Fold::Broken(_)) {
            history.timeline = Timeline::default();
        }
    }

    /// Whether it is the next version. Faults of its headers are named; they break nothing.
    fn follows(&mut self, history: &History, found: &Found<'_>) -> bool {
        let head = history.head.as_ref();
        let after_unknown = head.is_none() && matches!(history.fold, Fold::Broken(_));
        if after_unknown {
            return true;
        }
        let expected = head.map_or(1, |head| head.version + 1);
        let version = found.recorded.version();
        if version != expected {
            let why = format!("version {version} stands where {expected} is due");
            self.differs(found, What::Version, why);
            return false;
        }
        let faults = match self.check {
            Check::Everything => {
                let trace = history.fold.trace();
                integrity::faults(head, found.recorded, found.raw, trace)
            }
            Check::ChainOnly => integrity::unchained(head, found.recorded),
        };
        for fault in faults {
            let Fault {
                what,
                message,
                changes,
            } = fault;
            self.findings.differs(found.place(), what, message, changes);
        }
        true
    }

    fn differs(&mut self, found: &Found<'_>, what: What, message: impl Into<String>) {
        self.findings
            .differs(found.place(), what, message, Vec::new());
    }

    fn derive(&mut self, fold: &Fold, found: &Found<'_>, moment: Moment) {
        let recorded = found.recorded;
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
        match derived {
            Derived::Decision(event) => {
                if self.is_same(&event, What::Decision, found) {
                    self.findings.summary.decisions += 1;
                }
            }
            Derived::Input(what, event) => {
                if self.is_same(&event, what, found) {
                    self.findings.summary.inputs += 1;
                }
            }
            Derived::Taken => {
                self.findings.summary.inputs += 1;
                self.is_same(&recorded.event, What::Encoding, found);
            }
            Derived::Nothing(what, why) => self.differs(found, what, why),
            Derived::NotRederived(reason) => self.findings.not_rederived(found.place(), reason),
        }
    }

    /// Compares byte by byte; where bytes differ, says what they say.
    fn is_same(&mut self, derived: &Event, what: What, found: &Found<'_>) -> bool {
        let recorded = &found.recorded.event;
        let same_bytes = derived
            .encode()
            .is_ok_and(|bytes| bytes.as_slice() == found.raw.payload.as_ref());
        let name = derived.name();
        if name != recorded.name() {
            let why = format!("`{name}` is due");
            self.differs(found, what, why);
            return false;
        }
        if same_bytes {
            return true;
        }
        let json = |event: &Event| event.to_json().unwrap_or_default();
        let changes = diff::changes(&json(derived), &json(recorded));
        let (what, why) = if changes.is_empty() {
            (What::Encoding, "it is not encoded as it would be")
        } else if what == What::Decision {
            (what, "it comes out otherwise")
        } else {
            (what, "it would be recorded otherwise")
        };
        self.findings.differs(found.place(), what, why, changes);
        false
    }
}

impl Found<'_> {
    fn place(&self) -> Place {
        Place::of(self.position, &self.recorded.subject)
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
