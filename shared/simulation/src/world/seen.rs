//! What is seen of a world from outside: the log as it grows, the workers, the answers. It feeds
//! the auditor, the counts, and the transcript.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use contracts::{
    canonical::Digest,
    event::{Event, EventName},
    ids::{EventId, ExecutionId, Incarnation, RunId, StepId},
    subject::AggregateId,
    time::Timestamp,
};
use domain::execution::intake::{Door, keyed_id};
use journal::stored::Entry;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::{
    audit::{Answered, Auditor, Dispatch, Pauses, Rule, Violation},
    coverage::{Coverage, TAKEOVER, count},
    script::{Action, Instance, Name, Person, Point},
    sea::Sea,
    shop::THE_SHOP,
    transcript,
};

pub struct Seen {
    sea: Arc<Sea>,
    books: Mutex<Books>,
    asking: AtomicUsize,
    /// Told whenever something that may be waited for has happened. Its waiters wake in the order in
    /// which they came, so that a world can be lived through again.
    happened: Notify,
    tells: bool,
}

struct Books {
    auditor: Auditor,
    /// Found outside the auditor.
    violation: Option<Violation>,
    coverage: Coverage,
    transcript: Vec<String>,
    orders: BTreeMap<Name, Order>,
    /// What has happened to each execution at least once.
    happened: BTreeSet<(ExecutionId, EventName)>,
    /// Whether the world has begun: what was stored before is no part of the story.
    begun: bool,
}

/// What was submitted under a name.
#[derive(Debug, Clone)]
pub struct Order {
    pub by: Person,
    pub body: Map<String, Value>,
    pub key: Option<String>,
    pub id: Option<ExecutionId>,
    /// Whether it was another body than this that was taken under its key, once one was.
    pub took_other: Option<bool>,
}

/// While it lives, someone waits for an answer.
pub struct Asking(Arc<Seen>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Seen {
    pub fn new(sea: Arc<Sea>, tells: bool) -> Self {
        let mut auditor = Auditor::new();
        auditor.allow_for_messages(sea.latency_ms_max());
        Self {
            sea,
            books: Mutex::new(Books {
                auditor,
                violation: None,
                coverage: Coverage::default(),
                transcript: Vec::new(),
                orders: BTreeMap::new(),
                happened: BTreeSet::new(),
                begun: false,
            }),
            asking: AtomicUsize::new(0),
            happened: Notify::new(),
            tells,
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Timestamp {
        self.sea.now()
    }

    pub fn begins(&self) {
        self.books().begun = true;
    }

    pub fn asking(self: &Arc<Self>) -> Asking {
        self.asking.fetch_add(1, Ordering::Relaxed);
        Asking(Arc::clone(self))
    }

    pub fn is_anyone_asking(&self) -> bool {
        self.asking.load(Ordering::Relaxed) > 0
    }

    /// One line for people, where someone reads them.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        if self.tells {
            let line = transcript::line(self.sea.elapsed_ms(), &line());
            self.books().transcript.push(line);
        }
    }

    pub fn stored(&self, entry: &Entry) {
        let at = self.sea.now();
        let mut books = self.books();
        let recorded = match &entry.recorded {
            Ok(recorded) => recorded,
            Err(error) => {
                let detail = format!("{}: {error}", entry.raw.subject);
                books.found(Rule::Unreadable, None, detail, at);
                return;
            }
        };
        books.auditor.stored(at, entry.position, recorded);
        if let Some(id) = recorded.subject.aggregate.execution_id() {
            books.happened.insert((id, recorded.event.name()));
            self.happened.notify_waiters();
        }
        if books.begun {
            let name = recorded.event.name();
            count(&mut books.coverage.events, name.as_str());
            if matches!(&recorded.event, Event::StepStarted(started) if started.takeover) {
                count(&mut books.coverage.events, TAKEOVER);
            }
            if self.tells {
                let name = recorded
                    .subject
                    .aggregate
                    .execution_id()
                    .and_then(|id| books.name(id));
                let said = transcript::event(name, recorded);
                let line = transcript::line(self.sea.elapsed_ms(), &said);
                books.transcript.push(line);
            }
        }
    }

    pub fn delivered(&self, to: Incarnation, wake: EventId) {
        self.books().auditor.delivered(to, wake);
    }

    /// `at` is when it was sent.
    pub fn dispatched(&self, at: Timestamp, dispatch: &Dispatch<'_>) {
        self.tell(|| {
            format!(
                "the worker is asked for `{}`, attempt {}",
                dispatch.step, dispatch.attempt
            )
        });
        self.books().auditor.dispatched(at, dispatch);
    }

    pub fn effect(&self, key: Digest, attempt: u32, execution: ExecutionId, step: &StepId) {
        let at = self.sea.now();
        self.tell(|| format!("the worker does `{step}`"));
        self.books()
            .auditor
            .effect(at, key, attempt, execution, step);
    }

    pub fn in_progress(&self, key: &Digest, attempt: u32) {
        let at = self.sea.now();
        self.books().auditor.in_progress(at, *key, attempt);
    }

    pub fn unreadable(&self, subject: &str) {
        let at = self.sea.now();
        let detail = format!("a request on `{subject}`");
        self.books().found(Rule::Unreadable, None, detail, at);
    }

    pub fn mood(&self, mood: &str) {
        let mood = mood.split('(').next().unwrap_or(mood);
        count(&mut self.books().coverage.moods, mood);
    }

    pub fn death(&self, who: Instance, at: Point) {
        count(&mut self.books().coverage.deaths, at.as_str());
        self.tell(|| transcript::death(who, at));
    }

    pub fn action(&self, action: &Action) {
        let text = action.to_string();
        let verb = text.split(' ').next().unwrap_or_default();
        count(&mut self.books().coverage.actions, verb);
        if !action.is_asked() {
            self.tell(|| transcript::action(action));
        }
        let at = self.sea.now();
        let auditor = &mut self.books().auditor;
        if matches!(action, Action::StepClock { .. }) {
            auditor.clock_stepped();
        }
        if matches!(action, Action::DeliverAgain { .. }) {
            auditor.delivered_again(at);
        }
    }

    pub fn command(&self, command: &str, phase: &str, answer: &str) {
        let cell = (command.to_owned(), phase.to_owned(), answer.to_owned());
        *self.books().coverage.commands.entry(cell).or_default() += 1;
    }

    pub fn pauses(&self, run: RunId) -> Pauses {
        self.books().auditor.pauses(run)
    }

    pub fn answered(&self, answered: &Answered) {
        let at = self.sea.now();
        self.books().auditor.answered(at, answered);
    }

    pub fn ordered(&self, name: Name, by: Person, body: Map<String, Value>, key: Option<String>) {
        let id = key
            .as_deref()
            .map(|key| keyed_id(&THE_SHOP.workspace, Door::Http, by.as_str(), key));
        let order = Order {
            by,
            body,
            key,
            id,
            took_other: None,
        };
        self.books().orders.insert(name, order);
    }

    pub fn order(&self, name: Name) -> Option<Order> {
        self.books().orders.get(&name).cloned()
    }

    pub fn named(&self, name: Name, id: ExecutionId) {
        if let Some(order) = self.books().orders.get_mut(&name) {
            order.id = Some(id);
        }
        self.happened.notify_waiters();
    }

    /// Waits until an execution has an event of this name.
    pub async fn happens(&self, name: Name, event: EventName) {
        loop {
            let mut heard = pin!(self.happened.notified());
            heard.as_mut().enable();
            if self.has_happened(name, event) {
                return;
            }
            heard.await;
        }
    }

    fn has_happened(&self, name: Name, event: EventName) -> bool {
        let books = self.books();
        let id = books.orders.get(&name).and_then(|order| order.id);
        id.is_some_and(|id| books.happened.contains(&(id, event)))
    }

    /// A body was taken under the key of an order: from then on it is the only one.
    pub fn took(&self, name: Name, other_body: bool) {
        let at = self.sea.now();
        let mut books = self.books();
        let Some(order) = books.orders.get_mut(&name).filter(|o| o.key.is_some()) else {
            return;
        };
        let took_other = *order.took_other.get_or_insert(other_body);
        if took_other != other_body {
            let id = order.id;
            let detail = "two bodies were taken under one key".to_owned();
            books.found(Rule::KeyReused, id, detail, at);
        }
    }

    pub fn id(&self, name: Name) -> Option<ExecutionId> {
        self.books().orders.get(&name)?.id
    }

    pub fn name(&self, id: ExecutionId) -> Option<Name> {
        self.books().name(id)
    }

    pub fn ids(&self) -> Vec<ExecutionId> {
        let books = self.books();
        books.orders.values().filter_map(|order| order.id).collect()
    }

    pub fn open(&self) -> Vec<AggregateId> {
        self.books().auditor.open()
    }

    pub fn is_sound(&self) -> bool {
        if self.sea.is_spinning() {
            let at = self.sea.now();
            let detail = "processes call the broker without end, and time stands still".to_owned();
            self.books().found(Rule::Stuck, None, detail, at);
        }
        let books = self.books();
        books.violation.is_none() && books.auditor.violation().is_none()
    }

    /// No message is pending for an execution, and these timers are armed.
    pub fn rests(&self, aggregate: &AggregateId, timers: &BTreeSet<String>) {
        if let Some(id) = aggregate.execution_id() {
            self.books().auditor.rests(self.sea.now(), id, timers);
        }
    }

    pub fn stuck(&self, open: &[AggregateId], unacknowledged: &[String]) {
        let at = self.sea.now();
        let mut books = self.books();
        let names: Vec<String> = open
            .iter()
            .map(|aggregate| {
                let name = aggregate.execution_id().and_then(|id| books.name(id));
                name.map_or_else(|| aggregate.to_string(), |name| name.to_string())
            })
            .collect();
        let id = open.first().and_then(AggregateId::execution_id);
        let detail = format!(
            "still open: {}; still held: {}",
            names.join(", "),
            unacknowledged.join(", ")
        );
        books.found(Rule::Stuck, id, detail, at);
    }

    pub fn replayed_otherwise(&self, report: &str) {
        let at = self.sea.now();
        self.books()
            .found(Rule::Replay, None, report.to_owned(), at);
    }

    pub fn closes(&self) {
        let at = self.sea.now();
        self.books().auditor.close(at);
    }

    pub fn take(&self) -> (Option<Violation>, Coverage, Vec<String>) {
        let mut books = self.books();
        let violation = books
            .auditor
            .violation()
            .cloned()
            .or_else(|| books.violation.take());
        (
            violation,
            std::mem::take(&mut books.coverage),
            std::mem::take(&mut books.transcript),
        )
    }
}

impl Books {
    fn name(&self, id: ExecutionId) -> Option<Name> {
        let named = self.orders.iter().find(|(_, order)| order.id == Some(id));
        named.map(|(name, _)| *name)
    }

    fn found(&mut self, rule: Rule, execution: Option<ExecutionId>, detail: String, at: Timestamp) {
        self.violation.get_or_insert(Violation {
            rule,
            execution,
            detail,
            at,
        });
    }
}
