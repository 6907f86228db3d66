//! One execution, driven from a wake-up to rest.
//!
//! INVARIANT: a wake-up is acknowledged only when every effect that this driver started has its
//! end stored, and whatever the state waits for has a durable wake-up armed. So redelivery is the
//! takeover.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use contracts::{
    canonical::Digest,
    event::{Event, Service},
    events::executor::StepStarted,
    ids::{EventId, StepId},
    record::Cause,
    subject::AggregateId,
    time::Timestamp,
};
use domain::{
    catalogue::{Builtin, Catalogue, EntryPoint},
    execution::{
        Execution, StepState,
        ending::{self, Outcome},
        running::{self, Context},
        steps,
        waits::{self, Wait},
    },
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use host::{
    aggregate::{self, Loaded},
    clock,
    engine::{self, Host, Trouble, chain},
    failpoint,
    incident::{self, Incident},
    write::{WriteError, Writer},
};
use journal::timer::Timer;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    dispatch::{self, Call},
    fleet::{Fleet, Woken},
    held::Deliveries,
};

/// A wait shorter than this has no durable timer: the process sleeps and keeps its wake-up.
const SLEEP_MS_MAX: u64 = 2000;

/// A step starts on facts that were confirmed at most this long ago.
const FACTS_AGE_MAX: Duration = Duration::from_secs(1);

/// Nothing is appended on a fold that is older: its versions could have been archived and purged
/// after five minutes, and a purged version's guard passes again.
const FOLD_AGE_MAX: Duration = Duration::from_mins(4);

/// How soon everything comes again after a passing fault.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What an attempt of this process brought.
type Brought = (StepId, u32, Outcome);
type InFlight = FuturesUnordered<Pin<Box<dyn Future<Output = Brought> + Send>>>;

pub async fn run(fleet: Arc<Fleet>, aggregate: AggregateId, mut wakes: mpsc::Receiver<Woken>) {
    let mut driver = Driver {
        host: fleet.host(),
        aggregate: aggregate.clone(),
        state: Execution::NeverReceived,
        confirmed: None,
        epoch: 0,
        held: Deliveries::default(),
        fresh: BTreeSet::new(),
        due: None,
        in_flight: FuturesUnordered::new(),
        ended: Vec::new(),
        armed: BTreeMap::new(),
        tokens: clock::random_bytes(),
    };
    loop {
        match driver.until_rest(&mut wakes).await {
            Ok(Rest::Reached) => driver.held.acknowledge().await,
            Ok(Rest::ShuttingDown) => return,
            Err(trouble) => driver.give_up(trouble).await,
        }
        if driver.is_idle() && fleet.leave(&aggregate, &wakes) {
            return;
        }
    }
}

/// What a stored start leads to.
enum Effect {
    Call(Box<Call>),
    /// `core.wait`: the state waits for its end.
    TimePasses,
    Impossible(Outcome),
}

enum Rest {
    Reached,
    ShuttingDown,
}

struct Driver<'a> {
    host: &'a Host,
    aggregate: AggregateId,
    state: Execution,
    /// When the state was last known to be the leader's.
    confirmed: Option<Instant>,
    epoch: u64,
    held: Deliveries,
    /// Wake-ups received and not yet decided on: what others left under them is taken over.
    fresh: BTreeSet<EventId>,
    /// The latest instant of a timer that has come.
    due: Option<Timestamp>,
    in_flight: InFlight,
    /// What attempts brought and is not stored yet.
    ended: Vec<Brought>,
    /// The instants that timers are armed for by this driver.
    armed: BTreeMap<String, Timestamp>,
    /// Completion tokens are drawn from it.
    tokens: [u8; 32],
}

impl Driver<'_> {
    async fn until_rest(&mut self, wakes: &mut mpsc::Receiver<Woken>) -> Result<Rest, Trouble> {
        let mut progress = tokio::time::interval_at(
            Instant::now() + self.host.ack_wait / 4,
            self.host.ack_wait / 4,
        );
        while let Ok(woken) = wakes.try_recv() {
            self.take(woken);
        }
        loop {
            self.held.expire(self.host.ack_wait);
            let nap = {
                let host = self.host;
                let settling = self.settle();
                tokio::pin!(settling);
                tokio::select! {
                    nap = &mut settling => nap?,
                    () = host.shutdown.cancelled() => return Ok(Rest::ShuttingDown),
                }
            };
            self.held.expire(self.host.ack_wait);
            if self.is_idle() && nap.is_none() && wakes.is_empty() {
                failpoint::reach("before-acknowledge");
                return Ok(Rest::Reached);
            }
            tokio::select! {
                Some(woken) = wakes.recv() => {
                    self.take(woken);
                    while let Ok(woken) = wakes.try_recv() {
                        self.take(woken);
                    }
                }
                Some(brought) = self.in_flight.next() => self.ended.push(brought),
                () = sleep(nap), if nap.is_some() => {}
                _ = progress.tick() => self.held.in_progress().await,
                () = self.host.shutdown.cancelled() => return Ok(Rest::ShuttingDown),
            }
        }
    }

    fn take(&mut self, woken: Woken) {
        let Woken {
            wake,
            delivered,
            handle,
        } = woken;
        tracing::debug!(
            execution = %self.aggregate.id(), wake = %wake.id, version = wake.version, delivered,
            "woken"
        );
        let again = self.held.holds(wake.id);
        self.held.take(wake.id, wake.version, handle);
        if !again {
            self.fresh.insert(wake.id);
        }
        self.due = self.due.max(wake.due);
        // The next version as it was delivered saves a load.
        if let Some(event) = &wake.event
            && let Some(head) = self.state.head()
            && head.version + 1 == event.version()
            && Some(head.hash) == event.attributes.prev_hash
            && aggregate::known(event).is_ok()
        {
            let state = std::mem::replace(&mut self.state, Execution::NeverReceived);
            self.state = state.evolve(event);
        }
    }

    /// Stores what was brought and what is due until nothing is, arms what is waited for, and
    /// says how long to sleep for the rest.
    async fn settle(&mut self) -> Result<Option<Duration>, Trouble> {
        self.refresh().await?;
        loop {
            if let Execution::Corrupt(corruption) = &self.state {
                return Err(Trouble::Poison {
                    code: "AGGREGATE_CORRUPT",
                    cause: corruption.to_string(),
                });
            }
            if self.store_ended().await? {
                continue;
            }
            self.yield_to_others();
            if self.held.is_empty() {
                // Another process drives it: here only the ends of what was begun are stored.
                return Ok(None);
            }
            if !self.advance().await? {
                break;
            }
        }
        self.fresh.clear();
        self.arm().await
    }

    /// Whether nothing that this process began is without its stored end.
    fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.ended.is_empty()
    }

    /// Loads the state where it may be behind.
    async fn refresh(&mut self) -> Result<(), Trouble> {
        let stale = self.epoch != self.host.journal.epoch()
            || self.confirmed.is_none_or(|at| at.elapsed() > FOLD_AGE_MAX)
            || self.state.version() < self.held.version();
        if stale && !matches!(self.state, Execution::Corrupt(_)) {
            self.load(self.held.version()).await?;
        }
        Ok(())
    }

    async fn load(&mut self, version: u64) -> Result<(), Trouble> {
        let epoch = self.host.journal.epoch();
        let begun = Instant::now();
        let Loaded { state, .. } =
            aggregate::load(self.host.journal.as_ref(), &self.aggregate, version).await?;
        self.loaded(state, epoch, begun);
        Ok(())
    }

    async fn reload(&mut self) -> Result<(), Trouble> {
        let epoch = self.host.journal.epoch();
        let begun = Instant::now();
        let Loaded { state, .. } =
            aggregate::confirmed(self.host.journal.as_ref(), &self.aggregate).await?;
        self.loaded(state, epoch, begun);
        Ok(())
    }

    fn loaded(&mut self, state: Execution, epoch: u64, begun: Instant) {
        self.state = state;
        self.epoch = epoch;
        self.confirmed = Some(begun);
    }

    /// Stores the end of one attempt. False where there is none.
    async fn store_ended(&mut self) -> Result<bool, Trouble> {
        let Some((step, attempt, outcome)) = self.ended.last().cloned() else {
            return Ok(false);
        };
        let now = self.instant();
        match ending::end(&self.state, &step, attempt, &outcome, now) {
            Ok(event) => {
                failpoint::reach("before-end-stored");
                if self.append(event, now).await? {
                    self.ended.pop();
                    failpoint::reach("after-end-stored");
                }
            }
            Err(refused) => {
                // Refusing is a decision too: not on a fold that may be behind.
                let version = self.state.version();
                self.reload().await?;
                if self.state.version() == version {
                    tracing::info!(
                        execution = %self.aggregate.id(), %step, attempt, %refused,
                        "a result was refused"
                    );
                    self.ended.pop();
                }
            }
        }
        Ok(true)
    }

    /// Stores what is due. False where nothing is.
    async fn advance(&mut self) -> Result<bool, Trouble> {
        let catalogue = facts(self.host).await?;
        let now = self.instant();
        let events = self.decide(&catalogue, now);
        if events.is_empty() {
            return Ok(false);
        }
        for event in events {
            let started = if let Event::StepStarted(started) = &event {
                Some(started.clone())
            } else {
                None
            };
            if started.is_some() {
                failpoint::reach("before-started-stored");
            }
            if !self.append(event, now).await? {
                break;
            }
            if let Some(started) = started {
                tracing::debug!(
                    execution = %self.aggregate.id(), step = %started.step_id,
                    attempt = started.attempt, takeover = started.takeover,
                    "dispatches"
                );
                failpoint::reach("after-started-stored");
                self.dispatch(started, &catalogue, now);
            }
        }
        Ok(true)
    }

    fn decide(&self, catalogue: &Catalogue, now: Timestamp) -> Vec<Event> {
        let token_hash =
            |step: &StepId, attempt: u32| Digest::of(token(&self.tokens, step, attempt).as_bytes());
        let context = Context {
            now,
            owner: self.host.incarnation,
            fresh: &self.fresh,
            catalogue,
            token_hash: &token_hash,
        };
        running::drive(&self.state, &context)
    }

    /// Stores one event. False where someone else wrote first: then the state is loaded again and
    /// the decision has to be made again.
    async fn append(&mut self, event: Event, now: Timestamp) -> Result<bool, Trouble> {
        let cause = Cause {
            id: self.held.cause(),
            traceparent: self
                .state
                .known()
                .and_then(|known| known.traceparent.clone()),
        };
        let writer = Writer {
            journal: self.host.journal.as_ref(),
            service: Service::Executor,
            aggregate: &self.aggregate,
            cause: &cause,
            now,
        };
        match writer.append(&self.state, event).await {
            Ok((_, recorded)) => {
                let state = std::mem::replace(&mut self.state, Execution::NeverReceived);
                self.state = state.evolve(&recorded);
                self.confirmed = Some(Instant::now());
                Ok(true)
            }
            Err(WriteError::Conflict { .. }) => {
                self.reload().await?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Runs the effect of a start that is stored.
    fn dispatch(&mut self, started: StepStarted, catalogue: &Arc<Catalogue>, now: Timestamp) {
        let (step, attempt) = (started.step_id.clone(), started.attempt);
        match self.effect(started, catalogue, now) {
            Effect::Call(call) => {
                failpoint::reach("before-dispatch");
                self.in_flight.push(Box::pin(async move {
                    let outcome = call.run().await;
                    failpoint::reach("after-dispatch");
                    (step, attempt, outcome)
                }));
            }
            Effect::TimePasses => {}
            Effect::Impossible(outcome) => self.ended.push((step, attempt, outcome)),
        }
    }

    fn effect(&self, started: StepStarted, catalogue: &Arc<Catalogue>, now: Timestamp) -> Effect {
        let known = self.state.known();
        let run = known.and_then(|known| known.run());
        let step = run.and_then(|run| run.judged.compiled.plan.step(&started.step_id));
        let (Some(known), Some(run), Some(step)) = (known, run, step) else {
            return Effect::Impossible(dispatch::impossible("the step is not in the plan"));
        };
        let skill = catalogue.skill(&known.workspace, &step.uses);
        if skill.is_some_and(|skill| skill.entry_point == EntryPoint::Builtin(Builtin::Wait)) {
            return Effect::TimePasses;
        }
        // What was decided on is what is sent.
        let Ok(inputs) = steps::inputs(run, step) else {
            return Effect::Impossible(dispatch::impossible("its inputs cannot be bound"));
        };
        Effect::Call(Box::new(Call {
            journal: Arc::clone(&self.host.journal),
            workspace: known.workspace.clone(),
            step: step.clone(),
            inputs,
            token: token(&self.tokens, &started.step_id, started.attempt),
            traceparent: known.traceparent.clone(),
            catalogue: Arc::clone(catalogue),
            now,
            started,
        }))
    }

    /// Forgets the wake-ups under which another process has taken over what this one began: it
    /// drives them to rest, and acknowledges them. A wake-up that has just come is the right to
    /// take over instead.
    fn yield_to_others(&mut self) {
        let Some(run) = self.state.known().and_then(|known| known.run()) else {
            return;
        };
        let theirs: BTreeSet<EventId> = run
            .steps
            .values()
            .filter_map(|step| {
                if let StepState::Started(attempt) = &step.state
                    && attempt.owner != self.host.incarnation
                {
                    attempt.wake
                } else {
                    None
                }
            })
            .filter(|wake| !self.fresh.contains(wake))
            .collect();
        self.held.forget(&theirs);
    }

    /// Arms a timer for everything that is waited for; what is near is slept for instead.
    async fn arm(&mut self) -> Result<Option<Duration>, Trouble> {
        let catalogue = facts(self.host).await?;
        let now = self.instant();
        let mut nap: Option<u64> = None;
        for Wait { due, kind } in waits::of_executor(&self.state, &catalogue) {
            let remaining = due.since_ms(now);
            if remaining < SLEEP_MS_MAX {
                nap = Some(nap.map_or(remaining, |nap| nap.min(remaining)));
                continue;
            }
            let key = kind.key();
            if self.armed.get(&key) == Some(&due) {
                continue;
            }
            failpoint::reach("before-timer-armed");
            self.host
                .journal
                .arm(&Timer {
                    service: Service::Executor,
                    aggregate: self.aggregate.clone(),
                    key: key.clone(),
                    version: self.state.version(),
                    due,
                })
                .await?;
            failpoint::reach("after-timer-armed");
            tracing::debug!(execution = %self.aggregate.id(), timer = key, %due, "armed");
            self.armed.insert(key, due);
        }
        // At least a millisecond, so that the clock has moved when it is looked at again.
        Ok(nap.map(|ms| Duration::from_millis(ms.max(1))))
    }

    /// The instant of a decision: the later of the clock, the last event, and the timer that came.
    fn instant(&self) -> Timestamp {
        let clock = clock::now();
        let after = self.state.head().map_or(clock, |head| head.time.max(clock));
        self.due.map_or(after, |due| due.max(after))
    }

    /// One timer in the place of all wake-ups that are held.
    async fn put_off(&mut self) {
        let Some(wake) = self.held.cause() else {
            return;
        };
        let version = self.held.version();
        let timer = engine::later(Service::Executor, &self.aggregate, wake, version);
        match self.host.journal.arm(&timer).await {
            Ok(()) => self.held.acknowledge().await,
            Err(_) => self.held.give_back(RETRY_AFTER).await,
        }
    }

    /// A fault: transient ones bring everything again, for good ones an incident is stored first.
    async fn give_up(&mut self, trouble: Trouble) {
        self.confirmed = None;
        match trouble {
            // What this process began it also ends: only an idle driver gives its wake-ups back.
            Trouble::Transient(reason) if !self.is_idle() => {
                tracing::warn!(execution = %self.aggregate.id(), reason, "will try again");
                self.held.in_progress().await;
                tokio::time::sleep(RETRY_AFTER).await;
            }
            Trouble::Transient(reason) => {
                tracing::warn!(execution = %self.aggregate.id(), reason, "will try again");
                self.held.give_back(RETRY_AFTER).await;
            }
            Trouble::Newer(subject) => {
                let reason = format!("newer event: upgrade ({subject})");
                self.host.health.unready("upgrade", reason);
                self.in_flight.clear();
                self.ended.clear();
                self.put_off().await;
            }
            Trouble::Poison { code, cause } => {
                // No further effect, and no end that could be stored.
                self.in_flight.clear();
                self.ended.clear();
                let incident = Incident {
                    workspace: self.aggregate.workspace().clone(),
                    subject_id: self.aggregate.id().to_owned(),
                    code,
                    cause,
                    about: self.aggregate.to_string(),
                    event: self.held.cause(),
                };
                let journal = self.host.journal.as_ref();
                match incident::raise(journal, Service::Executor, &incident, clock::now()).await {
                    Ok(()) => self.held.acknowledge().await,
                    Err(error) => {
                        tracing::warn!(reason = chain(&error), "cannot raise an incident");
                        self.held.give_back(RETRY_AFTER).await;
                    }
                }
            }
        }
    }
}

/// The catalogue, confirmed recently enough for a step to start on it.
async fn facts(host: &Host) -> Result<Arc<Catalogue>, Trouble> {
    let earliest = Instant::now()
        .checked_sub(FACTS_AGE_MAX)
        .unwrap_or_else(Instant::now);
    Ok(host.catalogue.confirmed_since(earliest).await?)
}

async fn sleep(nap: Option<Duration>) {
    match nap {
        Some(nap) => tokio::time::sleep(nap).await,
        None => std::future::pending().await,
    }
}

/// The completion token of an attempt: only who knows the secret can make it.
fn token(secret: &[u8; 32], step: &StepId, attempt: u32) -> String {
    let attempt = attempt.to_be_bytes();
    Digest::of_parts([secret.as_slice(), step.as_str().as_bytes(), &attempt]).to_string()
}
