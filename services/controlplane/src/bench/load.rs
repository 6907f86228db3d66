//! Executions submitted, each until its end. The ends are heard from the log itself, by a reader that
//! asks for nothing else.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use contracts::{
    event::EventName,
    ids::ExecutionId,
    operations::intent::SubmitOutput,
    position::{Position, Positions, StreamId},
    registry::OperationName,
};
use journal::{
    Journal as _,
    jetstream::{
        JetStreamJournal,
        floor::{Pattern, PatternEvent},
    },
    stored::Entry,
    tail::{Scope, Tail},
};
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, interval, timeout},
};

use super::{Run, floor::ConsumerState, plan::Through};
use crate::{api::Api, failure::Failure, install::Survives};

/// How long an execution may take: after it, it hangs.
const END_WITHIN: Duration = Duration::from_mins(2);

/// How often a refusal for a limit is waited out.
const REFUSED_MAX: u32 = 100;

/// How soon it is asked again, where a limit was met.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How far back the events of an execution are looked for: others run beside it.
const LOOKED_AT: u64 = 20_000;

/// How executions come.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    AtOnce(usize),
    /// Whatever those before take.
    ASecond(u32),
}

/// What so many executions took.
#[derive(Debug, Clone, Default)]
pub struct Took {
    pub all: Duration,
    /// From the submission of each to its end.
    pub to_end: Vec<Duration>,
    /// To the answer, which says that its first event is stored.
    pub to_answer: Vec<Duration>,
}

/// What is in the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stored {
    pub events: u64,
    pub bytes: u64,
}

pub struct Load {
    submitters: Vec<Api>,
    journal: JetStreamJournal,
    body: Arc<Value>,
    ends: Arc<Ends>,
    _hearing: JoinSet<()>,
}

impl Load {
    pub async fn new(
        submitters: Vec<Api>,
        journal: JetStreamJournal,
        body: Value,
    ) -> Result<Self, Failure> {
        let after = ends_of(&journal).await?;
        let ends = Arc::new(Ends::default());
        // One kind, as the bare traffic hears it: with several the broker has more to do.
        let scope = Scope::Live(vec![EventName::ExecutionCompleted]);
        let tail = journal.tail(&after, scope).await;
        let tail = tail.map_err(|error| Failure::unreachable("cannot follow the log", error))?;
        let mut hearing = JoinSet::new();
        hearing.spawn(hear(tail, Arc::clone(&ends)));
        Ok(Self {
            submitters,
            journal,
            body: Arc::new(body),
            ends,
            _hearing: hearing,
        })
    }

    pub async fn run(&mut self, number: usize, pace: Pace) -> Result<Took, Failure> {
        let begun = Instant::now();
        let mut took = match pace {
            Pace::AtOnce(at_once) => self.at_once(number, at_once).await?,
            Pace::ASecond(rate) => self.a_second(number, rate).await?,
        };
        took.all = begun.elapsed();
        Ok(took)
    }

    async fn at_once(&self, number: usize, at_once: usize) -> Result<Took, Failure> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut users = JoinSet::new();
        for user in 0..at_once.min(number) {
            let (one, next) = (self.one(user), Arc::clone(&next));
            users.spawn(async move {
                let mut all = Vec::new();
                while next.fetch_add(1, Ordering::Relaxed) < number {
                    all.push(one.execute().await?);
                }
                Ok::<_, Failure>(all)
            });
        }
        let mut took = Took::default();
        while let Some(ended) = users.join_next().await {
            for (to_answer, to_end) in ended.map_err(anyhow::Error::new)?? {
                took.to_answer.push(to_answer);
                took.to_end.push(to_end);
            }
        }
        Ok(took)
    }

    async fn a_second(&self, number: usize, rate: u32) -> Result<Took, Failure> {
        let mut tick = interval(Duration::from_secs(1) / rate);
        let mut executions = JoinSet::new();
        for user in 0..number {
            tick.tick().await;
            let one = self.one(user);
            executions.spawn(async move { one.execute().await });
        }
        let mut took = Took::default();
        while let Some(ended) = executions.join_next().await {
            let (to_answer, to_end) = ended.map_err(anyhow::Error::new)??;
            took.to_answer.push(to_answer);
            took.to_end.push(to_end);
        }
        Ok(took)
    }

    fn one(&self, user: usize) -> One {
        let api = self
            .submitters
            .iter()
            .cycle()
            .nth(user % self.submitters.len().max(1));
        One {
            api: api.cloned(),
            body: Arc::clone(&self.body),
            ends: Arc::clone(&self.ends),
        }
    }

    pub async fn stored(&self) -> Result<Stored, Failure> {
        let mut stored = Stored::default();
        for stream in self.journal.streams() {
            if stream != StreamId::Catalogue {
                let (events, bytes) = self.journal.size(stream).await.map_err(unread)?;
                stored.events += events;
                stored.bytes += bytes;
            }
        }
        Ok(stored)
    }

    /// Waits until the read model has all that is stored: then it is in what was used.
    pub async fn caught_up(&self) -> Result<(), Failure> {
        let reached = ends_of(&self.journal).await?;
        let Some(api) = self.submitters.first() else {
            return Ok(());
        };
        let input = json!({
            "workspaceId": api.workspace,
            "limit": 1,
            "atLeast": reached.to_string(),
        });
        let begun = Instant::now();
        loop {
            let answer: Result<Value, Failure> =
                api.ask(OperationName::ExecutionList, &input).await;
            match answer {
                Ok(_) => return Ok(()),
                // It is further behind than a query waits.
                Err(Failure::Refused(refusal))
                    if refusal.status == 503 && begun.elapsed() < END_WITHIN => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// The events of the last execution that has ended, as they are stored.
    pub async fn pattern(&self, run: &Run) -> Result<Pattern, Failure> {
        let conditions = &run.conditions;
        let mut events = Vec::new();
        for entry in self.last_execution().await? {
            if let Ok(recorded) = &entry.recorded {
                events.push(PatternEvent::of(recorded.subject.event, &entry.raw));
            }
        }
        Ok(Pattern {
            streams: conditions.streams.get(),
            calls: conditions.through == Through::Nats,
            grouped: matches!(conditions.durability, Survives::Disk),
            state_in_memory: matches!(run.consumer_state, Some(ConsumerState::Memory)),
            events,
        })
    }

    pub async fn events_of_one(&self) -> Result<u64, Failure> {
        Ok(self.last_execution().await?.len().max(1) as u64)
    }

    async fn last_execution(&self) -> Result<Vec<Entry>, Failure> {
        let last = self.ends.lock().last;
        let Some((stream, sequence)) = last else {
            return Err(Failure::Unsuccessful("no execution has ended".to_owned()));
        };
        let after = sequence.saturating_sub(LOOKED_AT);
        let mut read = Vec::new();
        let mut reached = after;
        while reached < sequence {
            let most = usize::try_from(sequence - reached).unwrap_or(usize::MAX);
            let some = self.journal.read(stream, reached, most.min(1000)).await;
            let some = some.map_err(unread)?;
            let Some(last) = some.last() else { break };
            reached = last.position.sequence;
            read.extend(some);
        }
        let id = |entry: &Entry| {
            let recorded = entry.recorded.as_ref().ok()?;
            recorded.subject.aggregate.execution_id()
        };
        let of = read.last().and_then(id);
        read.retain(|entry| id(entry) == of);
        Ok(read)
    }
}

/// The last position of each stream.
async fn ends_of(journal: &JetStreamJournal) -> Result<Positions, Failure> {
    let mut ends = Positions::beginning();
    for stream in journal.streams() {
        let sequence = journal.last_sequence(stream).await.map_err(unread)?;
        ends.advance(Position { stream, sequence });
    }
    Ok(ends)
}

fn unread(error: journal::Unavailable) -> Failure {
    Failure::unreachable("cannot read the log", error)
}

/// The ends that are waited for, and those that came before anybody waited: of the executions that
/// complete, since no other is expected.
#[derive(Default)]
struct Ends(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    awaited: HashMap<ExecutionId, oneshot::Sender<Instant>>,
    early: HashMap<ExecutionId, Instant>,
    last: Option<(StreamId, u64)>,
}

impl Ends {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // What is in it is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn of(&self, id: ExecutionId) -> Option<Instant> {
        let receiver = {
            let mut waiting = self.lock();
            if let Some(end) = waiting.early.remove(&id) {
                return Some(end);
            }
            let (sender, receiver) = oneshot::channel();
            waiting.awaited.insert(id, sender);
            receiver
        };
        timeout(END_WITHIN, receiver).await.ok()?.ok()
    }
}

async fn hear(mut tail: Box<dyn Tail>, ends: Arc<Ends>) {
    loop {
        let entry = tail.next().await;
        let now = Instant::now();
        let Ok(recorded) = &entry.recorded else {
            continue;
        };
        let Some(id) = recorded.subject.aggregate.execution_id() else {
            continue;
        };
        let mut waiting = ends.lock();
        waiting.last = Some((entry.position.stream, entry.position.sequence));
        match waiting.awaited.remove(&id) {
            // Whoever waited may have given up.
            Some(waiting) => drop(waiting.send(now)),
            None => drop(waiting.early.insert(id, now)),
        }
    }
}

/// One that submits.
struct One {
    api: Option<Api>,
    body: Arc<Value>,
    ends: Arc<Ends>,
}

impl One {
    /// How long it took to the answer, and to the end.
    async fn execute(&self) -> Result<(Duration, Duration), Failure> {
        let nobody = || Failure::Unsuccessful("nobody submits".to_owned());
        let api = self.api.as_ref().ok_or_else(nobody)?;
        let mut refused = 0;
        loop {
            let begun = Instant::now();
            let answer: Result<SubmitOutput, Failure> = api
                .ask(OperationName::IntentSubmit, self.body.as_ref())
                .await;
            let id = match answer {
                Ok(output) => output.execution_id,
                Err(Failure::Refused(refusal))
                    if refusal.status == 429 && refused < REFUSED_MAX =>
                {
                    refused += 1;
                    tokio::time::sleep(AGAIN_AFTER).await;
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            let to_answer = begun.elapsed();
            let at =
                self.ends.of(id).await.ok_or_else(|| {
                    Failure::Unsuccessful(format!("execution {id} is not completed"))
                })?;
            return Ok((to_answer, at.duration_since(begun)));
        }
    }
}
