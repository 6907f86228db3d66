//! Load, decide, append; after a conflict again.
//!
//! What is appended needs no fresh fold, because the append is refused if the fold was old. What
//! is *not* appended, a refusal or "done before", has no such guard: it is decided on the head
//! that the stream's leader has.

use contracts::{
    event::Event,
    position::{Position, Positions},
    problem::{Code, Problem},
    record::{Cause, Recorded},
    subject::AggregateId,
    time::Timestamp,
};
use host::{
    aggregate::{Aggregate, known},
    failpoint,
    health::Why,
    metrics::decisions::Outcome,
    telemetry,
    trace::told::Parent,
    trouble::told_newer,
    write::{WriteError, Writer},
};
use journal::{
    Journal,
    append::AppendError,
    history::{LoadError, Read},
};

use tokio::time::Instant;

use crate::{Intake, api::Call, refusal};

/// How often a decision is made anew because someone else wrote first. Each round means that
/// another event was stored, so this many in a row is a fault and not bad luck.
const ROUNDS_MAX: usize = 50;

/// The topic of readiness for a broker that is there and does not answer.
const LOG: &str = "log";
const NO_ANSWER: Why = Why::of("the broker gives no usable answer: see the log of the process");

/// An aggregate's events, and their fold.
pub(crate) struct History<A> {
    pub state: A,
    pub events: Vec<Recorded>,
    position: Option<Position>,
    /// When it was asked for.
    known_at: Instant,
}

impl<A: Aggregate> History<A> {
    pub fn empty() -> Self {
        Self {
            state: A::empty(),
            events: Vec::new(),
            position: None,
            known_at: Instant::now(),
        }
    }

    pub fn push(&mut self, position: Position, recorded: Recorded) {
        self.state = std::mem::replace(&mut self.state, A::empty()).evolve(&recorded);
        self.position = Some(position);
        self.events.push(recorded);
    }

    /// Of the last event.
    pub fn position(&self) -> Positions {
        self.position
            .map_or_else(Positions::beginning, Positions::from)
    }

    /// The last event that `pick` picks.
    pub fn last<'a, T>(&'a self, pick: impl Fn(&'a Event) -> Option<T>) -> Option<T> {
        self.events
            .iter()
            .rev()
            .find_map(|recorded| pick(&recorded.event))
    }

    /// Not before the last event, so that times in payloads do not run backward either.
    fn instant(&self, now: Timestamp) -> Timestamp {
        self.state.head().map_or(now, |head| head.time.max(now))
    }
}

/// What a decision came to.
pub(crate) struct Done<A> {
    pub history: History<A>,
    /// Otherwise the same was asked and done before.
    pub appended: bool,
}

/// The events that a request leads to.
pub(crate) type Decision = Result<Vec<Event>, Problem>;

/// The trace of a request, and where its events stand in it.
#[derive(Clone, Copy)]
struct Asked<'a> {
    traceparent: Option<&'a str>,
    parent: Parent,
}

impl Call<'_> {
    /// Decides on what is stored, and stores what follows.
    pub async fn carry_out<A, D>(
        &self,
        aggregate: &AggregateId,
        decide: D,
    ) -> Result<Done<A>, Problem>
    where
        A: Aggregate,
        D: Fn(&History<A>, Timestamp) -> Decision,
    {
        let guess: History<A> = self.intake.load(aggregate, Read::Nearest).await?;
        if self.traceparent().is_none() {
            telemetry::belongs_to(guess.state.traceparent());
        }
        self.carry_out_on(guess, aggregate, self.traceparent(), decide)
            .await
    }

    /// As [`Self::carry_out`], beginning with what is believed to be stored.
    pub async fn carry_out_on<A, D>(
        &self,
        guess: History<A>,
        aggregate: &AggregateId,
        traceparent: Option<&str>,
        decide: D,
    ) -> Result<Done<A>, Problem>
    where
        A: Aggregate,
        D: Fn(&History<A>, Timestamp) -> Decision,
    {
        let parent = if self.traceparent().is_some() || self.is_seen {
            Parent::Trace
        } else {
            Parent::Root
        };
        let asked = Asked {
            traceparent,
            parent,
        };
        let decided = self.intake.decide(guess, aggregate, asked, decide).await;
        let outcome = match &decided {
            Ok(done) if done.appended => Outcome::Appended,
            Ok(_) => Outcome::Nothing,
            // Nothing could be decided.
            Err(problem) if problem.status >= 500 => return decided,
            Err(_) => Outcome::Rejected,
        };
        let decisions = &self.intake.host.metrics.decisions;
        decisions.made(self.operation.entry().key, outcome);
        decided
    }
}

impl Intake {
    /// What is stored of an aggregate, where this binary understands all of it.
    pub async fn load<A: Aggregate>(
        &self,
        aggregate: &AggregateId,
        read: Read,
    ) -> Result<History<A>, Problem> {
        let mut history = History::empty();
        let loaded = self.journal().load(aggregate, read).await;
        let understood = loaded.and_then(|events| {
            for (position, recorded) in events {
                known(&recorded)?;
                history.push(position, recorded);
            }
            Ok(history)
        });
        understood.map_err(|error| self.refuse(&error))
    }

    /// Whether anything of an aggregate has left the live window.
    pub async fn is_archived(&self, aggregate: &AggregateId) -> Result<bool, Problem> {
        let archived = self.journal().is_archived(aggregate).await;
        archived.map_err(|error| self.refuse(&error.into()))
    }

    fn refuse(&self, error: &LoadError) -> Problem {
        if let LoadError::Newer { subject } = error {
            told_newer(&self.host, subject);
        } else if let LoadError::Unavailable(_) = error {
            self.host.health.unready_for_now(LOG, NO_ANSWER);
        }
        refusal::load(error)
    }

    /// Decides on what is believed to be stored, and stores what follows.
    async fn decide<A, D>(
        &self,
        guess: History<A>,
        aggregate: &AggregateId,
        asked: Asked<'_>,
        decide: D,
    ) -> Result<Done<A>, Problem>
    where
        A: Aggregate,
        D: Fn(&History<A>, Timestamp) -> Decision,
    {
        let mut history = guess;
        let mut confirmed = false;
        for _ in 0..ROUNDS_MAX {
            let now = history.instant(self.host.now());
            match decide(&history, now) {
                Ok(events) if !events.is_empty() => {
                    if self
                        .store(&mut history, aggregate, asked, events, now)
                        .await?
                    {
                        return Ok(Done {
                            history,
                            appended: true,
                        });
                    }
                }
                Ok(_) if confirmed => {
                    return Ok(Done {
                        history,
                        appended: false,
                    });
                }
                Err(problem) if confirmed => return Err(problem),
                Ok(_) | Err(_) => {}
            }
            history = self.load(aggregate, Read::Confirmed).await?;
            confirmed = true;
        }
        tracing::warn!(%aggregate, rounds = ROUNDS_MAX, "others wrote first, every time");
        Err(Problem::new(
            Code::LogUnavailable,
            "others write here at the same time, again and again: send the same request later",
        ))
    }

    /// Whether all `events` are stored; otherwise another event stands where one of them belongs.
    async fn store<A: Aggregate>(
        &self,
        history: &mut History<A>,
        aggregate: &AggregateId,
        asked: Asked<'_>,
        events: Vec<Event>,
        now: Timestamp,
    ) -> Result<bool, Problem> {
        let own = history.state.traceparent().or(asked.traceparent);
        let cause = Cause {
            // A request is no event: nothing in the log leads to this one.
            id: None,
            traceparent: own.map(str::to_owned),
        };
        let writer = Writer {
            host: &self.host,
            aggregate,
            cause: &cause,
            parent: asked.parent,
            now,
            known_at: history.known_at,
        };
        for event in events {
            match writer.append(&history.state, event).await {
                Ok((position, recorded)) => {
                    failpoint::reach("intake.appended");
                    self.host.health.ready(LOG);
                    history.push(position, recorded);
                }
                Err(WriteError::Conflict { .. }) => return Ok(false),
                Err(error) => {
                    if let WriteError::Append(AppendError::Unavailable { .. }) = &error {
                        self.host.health.unready_for_now(LOG, NO_ANSWER);
                    }
                    return Err(refusal::write(&error));
                }
            }
        }
        Ok(true)
    }

    pub fn journal(&self) -> &dyn Journal {
        self.host.journal.as_ref()
    }
}
