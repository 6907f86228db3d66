//! What lies between the processes and the broker, and moves all of them: time, latency, a change
//! of leaders.

use std::sync::{
    Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use contracts::{
    ids::{EventId, Incarnation},
    time::Timestamp,
};
use tokio::time::{Duration, Instant};

use crate::{
    chance::Chance,
    script::{self, Script},
};

/// When every world begins.
pub const BEGINNING: &str = "2026-03-02T08:00:00Z";

/// How long after a pause something that it held back may still arrive, in milliseconds.
const WAKE_MS: u64 = 3000;

/// The longest that a message is on its way, in milliseconds.
const LATENCY_MS_MAX: u64 = 3000;

/// Who keeps count of the messages that come to processes.
type Ear = Box<dyn Fn(Incarnation, EventId) + Send + Sync>;

/// Calls of all processes within one millisecond: hundreds are usual, and thousands are a loop.
const CALLS_MAX: u64 = 20_000;

pub struct Sea {
    pub seed: u64,
    wire: script::Wire,
    beginning: Timestamp,
    began: Instant,
    weather: Mutex<Weather>,
    /// The calls since time last went on, and when that was.
    calls: Mutex<(u64, u64)>,
    spinning: AtomicBool,
    ear: OnceLock<Ear>,
}

struct Weather {
    /// Nobody is reached before this instant.
    outage_until: Instant,
    /// Nothing is stored before this instant.
    full_until: Instant,
    /// Whether messages travel at once, whatever the script says.
    calm: bool,
    /// When everything stood still last.
    stood_still: Option<Instant>,
}

impl Sea {
    pub fn new(script: &Script, beginning: Timestamp) -> Self {
        let now = Instant::now();
        Self {
            seed: script.seed,
            wire: script.wire,
            beginning,
            began: now,
            weather: Mutex::new(Weather {
                outage_until: now,
                full_until: now,
                // Until every process is there: what begins is not what is looked at.
                calm: true,
                stood_still: None,
            }),
            calls: Mutex::new((0, 0)),
            spinning: AtomicBool::new(false),
            ear: OnceLock::new(),
        }
    }

    /// From now on messages travel as the script says.
    pub fn begin(&self) {
        self.weather().calm = false;
    }

    fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The true time.
    pub fn now(&self) -> Timestamp {
        self.beginning.plus_ms(self.elapsed_ms())
    }

    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When it will be so late.
    pub fn instant_of(&self, at: Timestamp) -> Instant {
        self.began + Duration::from_millis(at.since_ms(self.beginning))
    }

    pub fn after_ms(&self, ms: u64) -> Instant {
        self.began + Duration::from_millis(ms)
    }

    pub fn outage(&self, ms: u64) {
        let mut weather = self.weather();
        let until = Instant::now() + Duration::from_millis(ms);
        weather.outage_until = weather.outage_until.max(until);
    }

    pub fn is_out(&self) -> bool {
        self.weather().outage_until > Instant::now()
    }

    pub fn outage_until(&self) -> Instant {
        self.weather().outage_until
    }

    pub fn fill(&self, ms: u64) {
        let mut weather = self.weather();
        let until = Instant::now() + Duration::from_millis(ms);
        weather.full_until = weather.full_until.max(until);
    }

    pub fn is_full(&self) -> bool {
        self.weather().full_until > Instant::now()
    }

    pub fn calm_down(&self) {
        let mut weather = self.weather();
        weather.full_until = Instant::now();
        weather.calm = true;
        weather.outage_until = Instant::now();
    }

    pub fn stood_still(&self) {
        self.weather().stood_still = Some(Instant::now());
    }

    /// Whether everything stood still so shortly ago that something old may still arrive.
    pub fn stood_still_lately(&self) -> bool {
        let weather = self.weather();
        weather
            .stood_still
            .is_some_and(|at| at.elapsed() < Duration::from_millis(WAKE_MS))
    }

    pub fn listen(&self, ear: impl Fn(Incarnation, EventId) + Send + Sync + 'static) {
        let _ = self.ear.set(Box::new(ear));
    }

    /// A process has received a wake-up.
    pub fn heard(&self, by: Incarnation, wake: EventId) {
        if let Some(ear) = self.ear.get() {
            ear(by, wake);
        }
    }

    /// The longest that a message is on its way, in milliseconds.
    pub fn latency_ms_max(&self) -> u64 {
        match self.wire {
            script::Wire::Prompt => 0,
            script::Wire::Noisy => LATENCY_MS_MAX,
        }
    }

    /// Whether processes do ever more without time going on: nothing that is called is answered
    /// any more, so that the world ends.
    pub fn is_spinning(&self) -> bool {
        self.spinning.load(Ordering::Relaxed)
    }

    /// Counts a call. False where there were so many in one instant that they would never end.
    pub fn admits(&self) -> bool {
        let now = self.elapsed_ms();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.1 != now {
            *calls = (0, now);
        }
        calls.0 += 1;
        if calls.0 > CALLS_MAX {
            self.spinning.store(true, Ordering::Relaxed);
        }
        !self.is_spinning()
    }

    /// How long a message is on its way.
    pub fn latency(&self, place: [u64; 3]) -> Duration {
        if self.wire == script::Wire::Prompt || self.weather().calm {
            return Duration::ZERO;
        }
        let mut chance = Chance::at(self.seed, place);
        let ms = match chance.below(1000) {
            0..700 => 0,
            700..930 => chance.between(1, 4),
            930..990 => chance.between(5, 60),
            990..998 => chance.between(60, 700),
            _ => chance.between(700, LATENCY_MS_MAX),
        };
        Duration::from_millis(ms)
    }
}
