//! One execution, driven from a wake-up to rest.
//!
//! INVARIANT: a wake-up is acknowledged only when every effect that this driver started has its
//! end stored, and whatever the state waits for has a durable wake-up armed. So redelivery is the
//! takeover.
//!
//! * [`sending`]: the effect of a start that is stored
//! * [`waiting`]: the timers that are armed before a rest

mod sending;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use contracts::{
    canonical::Digest,
    event::Event,
    ids::{EventId, StepId},
    planted::{self, Bug},
    subject::AggregateId,
    time::Timestamp,
};
use domain::{
    catalogue::Catalogue,
    execution::{
        Execution, Step, ending,
        running::{self, Context},
        steps,
        waits::Left,
    },
};
use host::{
    aggregate::Aggregate as _,
    catalogue::Confirmed,
    engine::{Host, chain},
    failpoint,
    health::Why,
    incident::{self, Incident},
    metrics::decisions::Outcome,
    telemetry,
    trace::told::Parent,
    trouble::{self, Trouble},
};
use tokio::{sync::mpsc, time::Instant};

use self::{
    sending::{Start, token},
    waiting::{Armed, Nap, sleep},
};
use crate::{
    calls::{Brought, Calls},
    fleet::{Fleet, Woken},
    held::{Deliveries, Lead, is_too_old},
    tracked::Tracked,
};

/// A step starts on facts whose confirmation began at most this long ago.
const FACTS_AGE_MAX: Duration = Duration::from_secs(1);

/// Facts are shared up to this age, so that something is left of it for the append.
const FACTS_SHARED_FOR: Duration = Duration::from_millis(500);

/// How soon everything comes again after a passing fault.
const RETRY_AFTER: Duration = Duration::from_millis(500);

pub async fn run(
    fleet: Arc<Fleet>,
    aggregate: AggregateId,
    mut wakes: mpsc::Receiver<Woken>,
    held: Deliveries,
) {
    let mut driver = Driver {
        host: fleet.host(),
        execution: Tracked::unknown(fleet.host(), aggregate.clone()),
        held,
        due: None,
        timers: BTreeSet::new(),
        calls: Calls::default(),
        armed: BTreeMap::new(),
        ended_for_others: false,
        tokens: fleet.host().ambient.random_bytes(),
        input: "timer",
        is_traced: false,
    };
    let _driven = fleet.host().metrics.driving.drives();
    loop {
        match driver.until_rest(&mut wakes).await {
            Ok(Rest::Reached) => driver.held.acknowledge().await,
            Ok(Rest::ShuttingDown) => return,
            Err(trouble) => driver.give_up(trouble).await,
        }
        if driver.calls.is_idle() && driver.held.is_empty() && fleet.leave(&aggregate, &wakes) {
            return;
        }
    }
}

enum Rest {
    Reached,
    ShuttingDown,
}

struct Driver<'a> {
    host: &'a Host,
    execution: Tracked<'a>,
    held: Deliveries,
    /// The latest instant of a timer that has come.
    due: Option<Timestamp>,
    /// The timers that have come and are not yet decided on.
    timers: BTreeSet<String>,
    calls: Calls,
    /// The timers that are armed: those that stay, and the others since the last delivery.
    armed: BTreeMap<String, Armed>,
    /// Whether an end was stored since something was last decided here.
    ended_for_others: bool,
    /// Completion tokens are drawn from it.
    tokens: [u8; 32],
    /// What came last, as one of a few words.
    input: &'static str,
    /// Whether what is said here names its trace.
    is_traced: bool,
}

impl Driver<'_> {
    async fn until_rest(&mut self, wakes: &mut mpsc::Receiver<Woken>) -> Result<Rest, Trouble> {
        let host = self.host;
        loop {
            self.held.expire(host.ack_wait);
            while let Ok(woken) = wakes.try_recv() {
                self.take(woken);
            }
            // In a fixed order, here and below, so that a simulated run can be run again.
            let nap = tokio::select! {
                biased;
                () = host.shutdown.cancelled() => return Ok(Rest::ShuttingDown),
                nap = self.settle() => nap?,
            };
            self.held.expire(host.ack_wait);
            if self.calls.is_idle() && nap.is_none() && wakes.is_empty() {
                failpoint::reach("before-acknowledge");
                return Ok(Rest::Reached);
            }
            tokio::select! {
                biased;
                () = host.shutdown.cancelled() => return Ok(Rest::ShuttingDown),
                Some(woken) = wakes.recv() => self.take(woken),
                () = self.calls.next() => {}
                due = sleep(nap) => self.due = self.due.max(Some(due)),
            }
        }
    }

    fn take(&mut self, woken: Woken) {
        let Woken {
            wake,
            delivered,
            received,
            handle,
        } = woken;
        if is_too_old(received, self.host.ack_wait) {
            handle.release();
            return;
        }
        self.input = wake.input();
        let event = wake.event.as_ref();
        self.belongs_to(event.and_then(|event| event.attributes.traceparent.as_deref()));
        tracing::debug!(wake = %wake.id, version = wake.version, delivered, "woken");
        if planted::is(Bug::AckBeforeRest) {
            // What is taken is as good as done.
            let early = Arc::clone(&handle);
            tokio::spawn(async move { early.ack().await });
        }
        self.held.take(&wake, handle, received);
        self.due = self.due.max(wake.due());
        // Another process may have armed something else meanwhile.
        self.armed.retain(|_, armed| armed.stays);
        if let Some(timer) = wake.timer {
            self.armed.remove(&timer);
            self.timers.insert(timer);
        }
        match &wake.event {
            Some(event) => self.execution.take(event),
            None if wake.version == 0 => self.execution.distrust(),
            None => {}
        }
        if delivered > 1 {
            // Another process may have had it meanwhile, and may have taken over what was begun here.
            self.execution.distrust();
        }
    }

    fn belongs_to(&mut self, traceparent: Option<&str>) {
        if !self.is_traced && traceparent.is_some() {
            telemetry::belongs_to(traceparent);
            self.is_traced = true;
        }
    }

    /// Stores what was brought and what is due until nothing is, arms what is waited for, and
    /// says how long to sleep for the rest.
    async fn settle(&mut self) -> Result<Option<Nap>, Trouble> {
        self.execution.refresh(self.held.version()).await?;
        let begun_at = self.execution.state.version();
        if !self.is_traced {
            let known = self.execution.state.known();
            let traceparent = known.and_then(|known| known.traceparent.clone());
            self.belongs_to(traceparent.as_deref());
        }
        loop {
            if let Execution::Corrupt(corruption) = &self.execution.state {
                return Err(Trouble::Poison {
                    code: "AGGREGATE_CORRUPT",
                    cause: corruption.to_string(),
                });
            }
            if self.store_brought().await? {
                continue;
            }
            self.held.expire(self.host.ack_wait);
            self.yield_to_others();
            if self.held.is_empty() {
                // Another process drives it: here only the ends of what was begun are stored.
                if self.ended_for_others {
                    self.hand_on().await?;
                }
                return Ok(None);
            }
            if !self.advance().await? {
                break;
            }
        }
        self.held.decided();
        self.timers.clear();
        self.ended_for_others = false;
        let appended = self.execution.state.version() > begun_at;
        let outcome = if appended {
            Outcome::Appended
        } else {
            Outcome::Nothing
        };
        self.host.metrics.decisions.made(self.input, outcome);
        if planted::is(Bug::LostTimer) && !appended && begun_at > self.held.version() {
            // Who appended what stands after the wake-up has armed what it waits for.
            return Ok(None);
        }
        self.arm().await
    }

    /// Stores the end of one attempt. False where there is none.
    async fn store_brought(&mut self) -> Result<bool, Trouble> {
        let Some(brought) = self.calls.to_store().cloned() else {
            return Ok(false);
        };
        let Brought {
            step,
            attempt,
            outcome,
            span,
        } = brought;
        let now = self.execution.instant(self.due);
        match ending::end(&self.execution.state, &step, attempt, &outcome, now) {
            Ok(event) => {
                failpoint::reach("before-end-stored");
                let lead = self.held.cause();
                let parent = span.or(lead.map(|lead| lead.parent));
                let parent = parent.unwrap_or(Parent::Trace);
                let wake = lead.map(|lead| lead.wake);
                let stored = match self.execution.append(event, wake, parent, now).await {
                    // It was sent, so it will be there.
                    Err(Trouble::Transient(_)) if planted::is(Bug::EndWithoutAppend) => true,
                    answered => answered?.is_some(),
                };
                if stored {
                    self.calls.stored();
                    self.ended_for_others = true;
                    failpoint::reach("after-end-stored");
                }
            }
            Err(refused) => {
                // Refusing is a decision too: not on a fold that may be behind.
                let version = self.execution.state.version();
                self.execution.reload().await?;
                if self.execution.state.version() == version {
                    tracing::info!(
                        %step, attempt, %refused,
                        "a result was refused"
                    );
                    self.calls.stored();
                }
            }
        }
        Ok(true)
    }

    /// Stores what is due. False where nothing is.
    async fn advance(&mut self) -> Result<bool, Trouble> {
        let Confirmed { catalogue, begun } = self.facts().await?;
        let now = self.execution.instant(self.due);
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
                if begun.elapsed() > FACTS_AGE_MAX {
                    // What was stored before took its time: decided again on newer facts.
                    break;
                }
            }
            // INVARIANT: what is started names a wake-up that is held, or nobody could take it over.
            let Some(Lead { wake, parent }) = self.held.cause() else {
                break;
            };
            let appended = self.execution.append(event, Some(wake), parent, now);
            let Some(stored) = appended.await? else {
                break;
            };
            if let Some(started) = started {
                failpoint::reach("after-started-stored");
                let version = self.execution.state.version();
                let start = Start { started, stored };
                self.send(start, wake, begun, &catalogue).await?;
                if self.execution.state.version() > version {
                    // What else was decided was decided on less.
                    break;
                }
            }
        }
        Ok(true)
    }

    /// The catalogue, confirmed recently enough for a step to start on it, and not older than what
    /// others have decided on before.
    async fn facts(&self) -> Result<Confirmed, Trouble> {
        let now = Instant::now();
        let earliest = now.checked_sub(FACTS_SHARED_FOR).unwrap_or(now);
        let at_least = self.execution.state.catalogue();
        Ok(self
            .host
            .catalogue
            .confirm_since(earliest, at_least)
            .await?)
    }

    /// An end was stored while another process drives: what follows from it is due, and who drives
    /// may be at rest by now.
    async fn hand_on(&mut self) -> Result<(), Trouble> {
        let timer = self.timer("go-on".to_owned(), self.recorded(), 0);
        self.host.journal.arm(&timer).await?;
        self.ended_for_others = false;
        Ok(())
    }

    /// The time of the newest event that is known.
    fn recorded(&self) -> Timestamp {
        let head = self.execution.state.head();
        head.map_or(Timestamp::from_millis(0), |head| head.time)
    }

    fn decide(&self, catalogue: &Catalogue, now: Timestamp) -> Vec<Event> {
        let token_hash =
            |step: &StepId, attempt: u32| Digest::of(token(&self.tokens, step, attempt).as_bytes());
        let under_way = |step: &StepId, attempt: u32| self.calls.is_under_way(step, attempt);
        let overdue = |step: &StepId, attempt: u32| self.timers.contains(&Left::key(step, attempt));
        let context = Context {
            now,
            owner: self.host.incarnation,
            fresh: &self.held.fresh(),
            under_way: &under_way,
            overdue: &overdue,
            catalogue,
            token_hash: &token_hash,
        };
        running::drive(&self.execution.state, &context)
    }

    /// Lets go of the wake-ups under which another process has taken over what this one began: it
    /// drives them to rest, and acknowledges them. A wake-up that has just come is the right to
    /// take over instead.
    fn yield_to_others(&self) {
        let Some(run) = self.execution.state.known().and_then(|known| known.run()) else {
            return;
        };
        let fresh = self.held.fresh();
        let plan = &run.judged.compiled.plan;
        let theirs: BTreeSet<EventId> = plan
            .steps
            .iter()
            .filter(|step| !steps::passes_time(step))
            .filter_map(|step| run.steps.get(&step.id))
            .filter_map(Step::attempt)
            .filter(|attempt| attempt.owner != self.host.incarnation)
            .filter_map(|attempt| attempt.wake)
            .filter(|wake| !fresh.contains(wake))
            .collect();
        self.held.forget(&theirs);
    }

    /// A fault: what will pass brings everything again, what will not is put off or told first.
    async fn give_up(&mut self, trouble: Trouble) {
        self.execution.distrust();
        self.host.metrics.consumption.trouble(&trouble);
        match trouble {
            Trouble::Transient(reason) => {
                tracing::warn!(reason, "will try again");
                self.later().await;
            }
            Trouble::Newer(subject) => {
                trouble::told_newer(self.host, &subject);
                self.much_later().await;
            }
            Trouble::Stuck(reason) => {
                trouble::told_stuck(self.host, &reason);
                self.much_later().await;
            }
            Trouble::Fatal(reason) => {
                self.host.fail(reason);
                self.held
                    .give_back(Duration::ZERO, self.host.ack_wait)
                    .await;
            }
            Trouble::Poison { code, cause } => {
                self.calls.abandon();
                let incident = Incident {
                    workspace: self.execution.aggregate.workspace().clone(),
                    subject_id: self.execution.aggregate.id().to_owned(),
                    code,
                    cause,
                    about: self.execution.aggregate.to_string(),
                    event: self.held.cause().map(|lead| lead.wake),
                };
                match incident::raise(self.host, &incident).await {
                    Ok(()) => self.held.acknowledge().await,
                    Err(error) => {
                        let reason = chain(&error);
                        tracing::error!(reason, "cannot raise an incident");
                        let why = "an incident cannot be stored: see the log of the process";
                        self.host.health.unready_for_now("incidents", Why::of(why));
                        self.much_later().await;
                    }
                }
            }
        }
    }

    /// What this process began it also ends: only an idle driver gives its wake-ups back.
    async fn later(&self) {
        if self.calls.is_idle() {
            self.held.give_back(RETRY_AFTER, self.host.ack_wait).await;
        } else {
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// A timer in the place of each wake-up: what is only delayed would still count as pending.
    async fn much_later(&self) {
        if !self.calls.is_idle() {
            return self.later().await;
        }
        for (wake, version) in self.held.wakes() {
            let aggregate = &self.execution.aggregate;
            let due = self
                .due
                .map_or(self.recorded(), |due| due.max(self.recorded()));
            let timer = trouble::later(self.host, aggregate, wake, version, due);
            let armed = self.host.journal.arm(&timer).await;
            if armed.is_err() && !planted::is(Bug::PutOffForgets) {
                return self.held.give_back(RETRY_AFTER, self.host.ack_wait).await;
            }
        }
        self.held.acknowledge().await;
    }
}
