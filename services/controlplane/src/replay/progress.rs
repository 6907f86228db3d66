//! How far a replay is, on a terminal: a log may be read for minutes.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use tokio::time::Instant;

use super::Progress;
use crate::screen::{Screen, count};

/// How often it is told: often enough to be seen moving, and seldom enough to be read.
const EVERY: Duration = Duration::from_millis(500);

/// Tells on standard error, and nothing where that is no terminal.
pub struct Meter {
    screen: Screen,
    begun: Instant,
    /// Nothing where it is told nowhere.
    due: Option<Instant>,
    is_told: bool,
}

impl Meter {
    pub fn new(screen: Screen) -> Self {
        let begun = Instant::now();
        Self {
            screen,
            begun,
            due: io::stderr().is_terminal().then(|| begun + EVERY),
            is_told: false,
        }
    }

    pub fn tell(&mut self, progress: Progress) {
        let now = Instant::now();
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        self.due = Some(now + EVERY);
        self.is_told = true;
        let told = told(progress, now - self.begun);
        if self.screen.is_json() {
            self.screen.aside().note("replay", &told);
        } else {
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K{told}");
        }
    }

    /// Makes room for the answer.
    pub fn clear(&self) {
        if self.is_told && !self.screen.is_json() {
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}

/// How much is done, how fast, and how long the rest takes at that rate.
pub fn told(progress: Progress, elapsed: Duration) -> String {
    let Progress { done, of } = progress;
    let events = count(of, "event");
    let ms = elapsed.as_millis().max(1);
    let rate = u128::from(done) * 1000 / ms;
    if rate == 0 {
        return format!("{done} of {events}");
    }
    let seconds = u128::from(of.saturating_sub(done)).div_ceil(rate);
    let left = match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    };
    format!("{done} of {events}, {rate}/s, {left} left")
}
