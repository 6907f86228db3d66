//! One world: two processes of every service on one log, driven through a script, then left alone
//! until everything has ended.

mod seen;

use std::sync::{Arc, LazyLock};

use contracts::{event::EventName, position::StreamId, subject::AggregateId, time::Timestamp};
use controlplane::replay::{self, Selection, Source};
use domain::execution::Execution;
use futures::future::{join, join_all};
use host::judge::Judge;
use journal::{
    Journal as _,
    layout::StreamCount,
    memory::{MemoryJournal, Waking},
    stored::Raw,
};
use tokio::time::{Duration, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

pub use self::seen::Seen;
use crate::{
    audit::Violation,
    chance::{Chance, place},
    coverage::{Coverage, phase},
    people::{People, open_block},
    processes::Processes,
    script::{
        Action, Again, Bundle, Control, Ending, Name, Person, Script, Shown, Skill, Timed, Vote,
        When, Wire, Workers,
    },
    sea::{BEGINNING, Sea},
    workers,
};

/// How long everything may take to end once the faults have stopped, beside what it waits for.
const ENDING_MS: u64 = 240_000;

/// How often people look whether something waits for them, in the end.
const LOOK_EVERY_MS: u64 = 400;

/// What became of a world.
pub struct Outcome {
    pub violation: Option<Violation>,
    pub coverage: Coverage,
    /// What happened, one line each; empty unless it was asked for.
    pub transcript: Vec<String>,
    pub journal: MemoryJournal,
    pub events: u64,
}

/// Lives through a script. `judge` holds bundles that were loaded before.
pub fn run(script: &Script, judge: &Arc<Judge>, tells: bool) -> Outcome {
    prepare();
    let catalogue = &*CATALOGUE;
    in_paused_time(live(script, judge, catalogue, tells))
}

/// Makes what all worlds share. Called before a bug is planted, which is for worlds only.
pub fn prepare() {
    LazyLock::force(&CATALOGUE);
}

#[expect(
    clippy::expect_used,
    reason = "without a runtime nothing can be simulated"
)]
fn in_paused_time<T>(living: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(living)
}

/// The same beginning for every world: the base bundle is active, shop and mail are installed.
static CATALOGUE: LazyLock<Vec<Raw>> = LazyLock::new(|| {
    let actions = [
        Action::Activate {
            bundle: Bundle::Base,
            via: 1,
        },
        Action::Install {
            skill: Skill::Shop,
            via: 1,
        },
        Action::Install {
            skill: Skill::Mail,
            via: 1,
        },
    ];
    let script = Script {
        seed: 0,
        wire: Wire::Prompt,
        workers: Workers::Honest,
        ending: Ending::Answered,
        streams: 1,
        actions: (0..)
            .zip(actions)
            .map(|(number, action)| Timed {
                when: When::At(number * 500),
                action,
            })
            .collect(),
    };
    in_paused_time(async {
        let lived = live(&script, &Arc::default(), &[], false).await;
        let stored = lived.journal.read(StreamId::Catalogue, 0, 100).await;
        let stored = stored.unwrap_or_default();
        stored.into_iter().map(|entry| entry.raw).collect()
    })
});

#[expect(clippy::expect_used, reason = "fixed values")]
async fn live(script: &Script, judge: &Arc<Judge>, catalogue: &[Raw], tells: bool) -> Outcome {
    let mut beginning: Timestamp = BEGINNING.parse().expect("an instant");
    if !catalogue.is_empty() {
        beginning = beginning.plus_ms(600_000);
    }
    let sea = Arc::new(Sea::new(script, beginning));
    let streams = StreamCount::try_new(script.streams).expect("a number of streams");
    let memory = MemoryJournal::new(streams, beginning);
    let seen = Arc::new(Seen::new(Arc::clone(&sea), tells));
    let processes = Processes::new(
        Arc::clone(&sea),
        memory.clone(),
        Arc::clone(judge),
        Arc::clone(&seen),
    );
    {
        // Held weakly: they hold the log and the sea.
        let (stored, heard) = (Arc::downgrade(&seen), Arc::downgrade(&seen));
        memory.observe(move |entry| {
            if let Some(seen) = stored.upgrade() {
                seen.stored(entry);
            }
        });
        sea.listen(move |who, wake| {
            if let Some(seen) = heard.upgrade() {
                seen.delivered(who, wake);
            }
        });
    }
    for raw in catalogue {
        memory.store_raw(StreamId::Catalogue, raw.clone());
    }
    seen.begins();
    {
        let (memory, sea) = (memory.clone(), Arc::clone(&sea));
        tokio::spawn(async move {
            let clock = || sea.now();
            let until = |at| sleep_until(sea.instant_of(at));
            memory.keep_time(clock, until).await;
        });
    }
    let people = Arc::new(People {
        processes: Arc::clone(&processes),
        memory: memory.clone(),
        seen: Arc::clone(&seen),
    });
    workers::serve(&memory, script, &people).await;
    processes.start_all().await;
    // Time goes on once each has nothing left to do, so every durable consumer is there.
    sleep(Duration::from_millis(1)).await;
    sea.begin();
    let world = World {
        people,
        sea,
        memory: memory.clone(),
        processes,
        seen: Arc::clone(&seen),
    };
    world.act(script).await;
    if seen.is_sound() {
        world.end(script).await;
    }
    if seen.is_sound() {
        world.replay(judge).await;
    }
    let (violation, mut coverage, transcript) = seen.take();
    let events = coverage.events.values().sum();
    world.count_ends(&mut coverage).await;
    Outcome {
        violation,
        coverage,
        transcript,
        journal: memory,
        events,
    }
}

struct World {
    people: Arc<People>,
    sea: Arc<Sea>,
    memory: MemoryJournal,
    processes: Arc<Processes>,
    seen: Arc<Seen>,
}

impl World {
    async fn act(&self, script: &Script) {
        let over = CancellationToken::new();
        let mut timeline = Vec::new();
        let mut waiting = Vec::new();
        for Timed { when, action } in &script.actions {
            match *when {
                When::At(ms) => timeline.push((ms, action)),
                When::After { of, event, ms } => {
                    waiting.push(self.act_after(of, event, ms, action, &over));
                }
            }
        }
        let timeline = async {
            for (at_ms, action) in timeline {
                sleep_until(self.sea.after_ms(at_ms)).await;
                self.act_now(action).await;
            }
            // What was asked last has begun before the faults stop.
            let mut chance = Chance::at(script.seed, [place("afterwards")]);
            let ms = chance.pick(&[20, 300, 2000, 9000], 300);
            sleep(Duration::from_millis(ms)).await;
            over.cancel();
        };
        join(timeline, join_all(waiting)).await;
        self.check_wake_ups();
    }

    /// Once an event has happened, if it does before the story is over.
    async fn act_after(
        &self,
        of: Name,
        event: EventName,
        ms: u64,
        action: &Action,
        over: &CancellationToken,
    ) {
        let happened = over.run_until_cancelled(self.seen.happens(of, event));
        if happened.await.is_some() {
            sleep(Duration::from_millis(ms)).await;
            self.act_now(action).await;
        }
    }

    async fn act_now(&self, action: &Action) {
        if self.seen.is_sound() {
            self.seen.action(action);
            self.carry_out(action).await;
            self.check_wake_ups();
        }
    }

    async fn carry_out(&self, action: &Action) {
        match action {
            Action::Crash { who, at } => {
                if let Some(line) = self.processes.line(*who) {
                    line.trap(*at);
                }
            }
            Action::Pause { who, ms } => {
                if let Some(line) = self.processes.line(*who) {
                    line.pause(*ms);
                }
            }
            Action::Restart { who } => self.processes.stop(*who),
            Action::StepClock { who, ms } => self.processes.step_clock(*who, *ms),
            Action::Outage { ms } => self.sea.outage(*ms),
            Action::Full { ms } => self.sea.fill(*ms),
            Action::LoseAnswers { who, count } => {
                if let Some(line) = self.processes.line(*who) {
                    line.lose_answers(*count);
                }
            }
            Action::LoseAcks { who, count } => {
                if let Some(line) = self.processes.line(*who) {
                    line.lose_acks(*count);
                }
            }
            Action::DeliverAgain { what: Again::Held } => {
                self.memory.deliver_again();
            }
            Action::DeliverAgain {
                what: Again::Everything,
            } => self.memory.deliver_everything_again(),
            Action::Lag { events } => self
                .memory
                .lag(usize::try_from(*events).unwrap_or(usize::MAX)),
            Action::Reconnect => self.memory.reconnect(),
            Action::Jump { ms } => {
                self.sea.stood_still();
                tokio::time::advance(Duration::from_millis(*ms)).await;
                self.sea.stood_still();
                self.memory.advance(self.sea.now());
            }
            Action::Submit(_)
            | Action::Repeat { .. }
            | Action::OfferDraft { .. }
            | Action::AskPlan { .. }
            | Action::Vote(_)
            | Action::Cancel { .. }
            | Action::Start { .. }
            | Action::Verify { .. }
            | Action::Control { .. }
            | Action::Activate { .. }
            | Action::Install { .. }
            | Action::Disable { .. } => {
                let (people, action) = (Arc::clone(&self.people), action.clone());
                let asking = self.seen.asking();
                tokio::spawn(async move {
                    ask(&people, action).await;
                    drop(asking);
                });
            }
        }
    }

    /// Every execution that has not ended will be woken.
    fn check_wake_ups(&self) {
        for aggregate in self.seen.open() {
            if let Waking::Timers(timers) = self.memory.will_wake(&aggregate) {
                self.seen.rests(&aggregate, &timers);
            }
        }
    }

    /// The faults stop; then everything comes to its end.
    async fn end(&self, script: &Script) {
        self.seen.tell(|| "the faults stop".to_owned());
        self.sea.calm_down();
        self.processes.calm_down();
        self.memory.lag(0);
        self.memory.advance(self.sea.now());
        let mut active_ms = 0;
        loop {
            sleep(Duration::from_millis(LOOK_EVERY_MS)).await;
            active_ms += LOOK_EVERY_MS;
            self.check_wake_ups();
            if !self.seen.is_sound() {
                return;
            }
            let open = self.seen.open();
            let rests = self.memory.is_at_rest() && !self.seen.is_anyone_asking();
            if open.is_empty() && rests {
                break;
            }
            if active_ms > ENDING_MS {
                self.seen.stuck(&open, &self.memory.unacknowledged());
                return;
            }
            let mut asked = false;
            for aggregate in &open {
                asked |= self.answer(aggregate, script.ending).await;
            }
            if rests && !asked {
                // Only time can go on from here.
                let Some(next) = self.memory.next_instant() else {
                    self.seen.stuck(&open, &[]);
                    return;
                };
                let ahead = next.since_ms(self.sea.now());
                tokio::time::advance(Duration::from_millis(ahead)).await;
                self.memory.advance(self.sea.now());
            }
        }
        self.seen.closes();
    }

    /// What people do about an execution that waits for them. False where nothing does.
    async fn answer(&self, aggregate: &AggregateId, ending: Ending) -> bool {
        let Some(id) = aggregate.execution_id() else {
            return false;
        };
        let state = self.people.state(id).await;
        let Some(name) = self.seen.name(id) else {
            return false;
        };
        let people = &self.people;
        let phase = phase(&state);
        // However silent they are, who pauses lets go on: nothing else may end it.
        if phase == "paused" {
            people.control(name, Control::Resume, 1).await;
            return true;
        }
        if ending == Ending::Silence {
            return false;
        }
        match phase {
            "awaiting a draft" => {
                let plan = crate::script::Plan::Chain;
                people.offer_draft(name, plan, 1).await;
                true
            }
            "verified, by hand" => {
                people.start(name, None, 2).await;
                true
            }
            _ => match voters(&state) {
                Some(by) => {
                    let vote = Vote {
                        of: name,
                        by,
                        approves: true,
                        thinks_ms: 0,
                        shows: Shown::Everything,
                        via: 1,
                    };
                    people.vote(&vote).await;
                    true
                }
                None => false,
            },
        }
    }

    async fn replay(&self, judge: &Arc<Judge>) {
        let source = Source::Journal(Arc::new(self.memory.clone()));
        match replay::run_with(source, &Selection::All, Arc::clone(judge)).await {
            Ok(report) if report.exit_code() == 0 => {}
            Ok(report) => self.seen.replayed_otherwise(&report.to_string()),
            Err(error) => self.seen.replayed_otherwise(&host::engine::chain(&error)),
        }
    }

    async fn count_ends(&self, coverage: &mut Coverage) {
        for id in self.seen.ids() {
            let state = self.people.state(id).await;
            let end = match &state {
                Execution::Known(known) => match &known.stop {
                    Some(stop) if known.is_ended() => stop.code.as_str().to_owned(),
                    Some(_) | None => phase(&state).to_owned(),
                },
                Execution::NeverReceived | Execution::Corrupt(_) => phase(&state).to_owned(),
            };
            crate::coverage::count(&mut coverage.ends, &end);
        }
    }
}

/// Who has not yet voted on the open block of what is not stopping.
fn voters(state: &Execution) -> Option<Person> {
    if state.known()?.stop.is_some() {
        return None;
    }
    let (_, block) = open_block(state)?;
    [Person::Grace, Person::Heidi].into_iter().find(|person| {
        !block
            .votes
            .keys()
            .any(|voter| voter.as_str() == person.as_str())
    })
}

async fn ask(people: &People, action: Action) {
    match action {
        Action::Submit(submit) => people.submit(&submit).await,
        Action::Repeat {
            of,
            other_body,
            via,
        } => people.repeat(of, other_body, via).await,
        Action::OfferDraft { of, plan, via } => people.offer_draft(of, plan, via).await,
        Action::AskPlan { of, via } => people.ask_plan(of, via).await,
        Action::Vote(vote) => people.vote(&vote).await,
        Action::Cancel { of, by, via } => people.cancel(of, by, via).await,
        Action::Start { of, mode, via } => people.start(of, mode, via).await,
        Action::Verify { of, via } => people.verify(of, via).await,
        Action::Control { of, what, via } => people.control(of, what, via).await,
        Action::Activate { bundle, via } => people.activate(bundle, via).await,
        Action::Install { skill, via } => people.install(skill, via).await,
        Action::Disable { skill, via } => people.disable(skill, via).await,
        Action::Crash { .. }
        | Action::Pause { .. }
        | Action::Restart { .. }
        | Action::StepClock { .. }
        | Action::Outage { .. }
        | Action::Full { .. }
        | Action::LoseAnswers { .. }
        | Action::LoseAcks { .. }
        | Action::DeliverAgain { .. }
        | Action::Lag { .. }
        | Action::Reconnect
        | Action::Jump { .. } => {}
    }
}
