//! Many worlds, one after the other on each core, and what they came to.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use host::judge::Judge;
use serde_json::{Value, json};

use crate::{
    audit::{Rule, Violation},
    coverage::Coverage,
    draw, read_model,
    script::Script,
    shrink::shrink,
    world,
};

/// Which worlds.
#[derive(Debug, Clone, Copy)]
pub struct Worlds {
    pub from: u64,
    pub seeds: u64,
    pub threads: usize,
    /// The rows of the read model are compared for one world in so many; 0 for none.
    pub read_model_every: u64,
}

#[derive(Debug, Default)]
pub struct Summary {
    pub worlds: u64,
    pub events: u64,
    pub coverage: Coverage,
    /// That of the lowest seed, where there is one.
    pub failure: Option<Failure>,
}

/// A world in which something went wrong.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub violation: Violation,
    pub script: Script,
}

/// Lives through all of them, until one goes wrong. Each thread first calls `begin`; `progress`
/// hears how many are done.
pub fn run(worlds: Worlds, begin: &(impl Fn() + Sync), progress: impl Fn(u64)) -> Summary {
    world::prepare();
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let judge = Arc::new(Judge::default());
    let (told, heard) = mpsc::channel();
    let mut summary = Summary::default();
    thread::scope(|scope| {
        for _ in 0..worlds.threads.max(1) {
            let (next, failed, told) = (&next, &failed, told.clone());
            let judge = Arc::clone(&judge);
            scope.spawn(move || {
                begin();
                while !failed.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= worlds.seeds {
                        return;
                    }
                    let lived = live(worlds, number, &judge);
                    if lived.failure.is_some() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    if told.send(lived).is_err() {
                        return;
                    }
                }
            });
        }
        drop(told);
        for lived in heard {
            summary.worlds += 1;
            summary.events += lived.events;
            summary.coverage.add(&lived.coverage);
            if let Some(failure) = lived.failure {
                let is_first = summary
                    .failure
                    .as_ref()
                    .is_none_or(|first| failure.seed < first.seed);
                if is_first {
                    summary.failure = Some(failure);
                }
            }
            progress(summary.worlds);
        }
    });
    summary
}

struct Lived {
    events: u64,
    coverage: Coverage,
    failure: Option<Failure>,
}

fn live(worlds: Worlds, number: u64, judge: &Arc<Judge>) -> Lived {
    let seed = worlds.from.wrapping_add(number);
    let script = draw::script(seed);
    let outcome = world::run(&script, judge, false);
    let violation = outcome.violation.or_else(|| {
        let compares = worlds.read_model_every > 0 && seed.is_multiple_of(worlds.read_model_every);
        if !compares {
            return None;
        }
        let difference = read_model::check_blocking(&outcome.journal, seed).err()?;
        Some(Violation {
            rule: Rule::ReadModel,
            execution: None,
            detail: host::engine::chain(&difference),
            at: outcome.journal.now(),
        })
    });
    Lived {
        events: outcome.events,
        coverage: outcome.coverage,
        failure: violation.map(|violation| Failure {
            seed,
            violation,
            script,
        }),
    }
}

impl Summary {
    pub fn to_json(&self, took: Duration) -> Value {
        json!({
            "worlds": self.worlds,
            "events": self.events,
            "seconds": took.as_secs_f64(),
            "failure": self.failure.as_ref().map(|failure| json!({
                "seed": failure.seed,
                "rule": failure.violation.rule.to_string(),
                "violation": failure.violation.to_string(),
                "script": failure.script.to_string(),
            })),
            "coverage": self.coverage.to_json(),
        })
    }
}

impl Failure {
    /// With a shorter script, where there is one that breaks the same rule.
    #[must_use]
    pub fn shrunk(self, judge: &Arc<Judge>) -> Self {
        let script = shrink(&self.script, self.violation.rule, judge);
        let again = world::run(&script, judge, false).violation;
        match again {
            Some(violation) => Self {
                violation,
                script,
                ..self
            },
            None => self,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} goes wrong: {}", self.seed, self.violation)?;
        writeln!(
            f,
            "\nthe shortest script found that does so:\n\n{}",
            self.script
        )?;
        writeln!(
            f,
            "run it again:      cargo run -p simulation -- --from {} --seeds 1\n\
             or as a story:     cargo run -p simulation -- tell <file with the script>",
            self.seed
        )
    }
}
