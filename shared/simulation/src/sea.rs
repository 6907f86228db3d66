//! What lies between the processes and the broker, and moves all of them: time, latency, a change
//! of leaders.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use contracts::time::Timestamp;
use tokio::time::{Duration, Instant};

use crate::{
    chance::Chance,
    script::{self, Script},
};

/// When every world begins.
pub const BEGINNING: &str = "2026-03-02T08:00:00Z";

/// How long after a pause something that it held back may still arrive, in milliseconds.
const WAKE_MS: u64 = 3000;

pub struct Sea {
    pub seed: u64,
    wire: script::Wire,
    beginning: Timestamp,
    began: Instant,
    weather: Mutex<Weather>,
    outages: AtomicU64,
}

struct Weather {
    /// Nobody is reached before this instant.
    outage_until: Instant,
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
                calm: false,
                stood_still: None,
            }),
            outages: AtomicU64::new(0),
        }
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
        self.outages.fetch_add(1, Ordering::Relaxed);
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

    pub fn calm_down(&self) {
        let mut weather = self.weather();
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
            _ => chance.between(700, 3000),
        };
        Duration::from_millis(ms)
    }
}
