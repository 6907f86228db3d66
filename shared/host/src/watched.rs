//! Files that are read again when they have changed, while everything runs.

use std::{
    error::Error,
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// How often it may be looked whether a file has changed: what was taken out of one counts for as
/// long.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// What was read from some files that belong together.
pub struct Watched<T> {
    /// What the files hold, as a log line names it.
    what: &'static str,
    paths: Vec<PathBuf>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    stamps: Stamps,
    /// Of files that were said to be faulty: once is enough.
    refused: Option<Stamps>,
    checked: Instant,
}

type Stamps = Vec<Option<Stamp>>;

/// What tells a file from the one that stood there before.
type Stamp = (SystemTime, u64, u64);

impl<T> Watched<T> {
    /// Reads the files for the first time.
    pub fn load<E>(
        what: &'static str,
        paths: Vec<PathBuf>,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<Self, E> {
        // Before it is read: a change in between is then seen as one.
        let stamps = stamps(&paths);
        Ok(Self {
            what,
            state: Mutex::new(State {
                value: Arc::new(read()?),
                stamps,
                refused: None,
                checked: Instant::now(),
            }),
            paths,
        })
    }

    /// What is in no file, and does not change.
    pub fn fixed(value: T) -> Self {
        Self {
            what: "",
            paths: Vec::new(),
            state: Mutex::new(State {
                value: Arc::new(value),
                stamps: Vec::new(),
                refused: None,
                checked: Instant::now(),
            }),
        }
    }

    /// What the files hold now. Faulty ones change nothing: a half-written file must not lock
    /// everybody out.
    pub fn current<E: Error>(&self, read: impl FnOnce(&T) -> Result<T, E>) -> Arc<T> {
        let mut state = self.state();
        if !self.paths.is_empty() && state.checked.elapsed() >= CHECK_EVERY {
            state.checked = Instant::now();
            let found = stamps(&self.paths);
            if found != state.stamps {
                match read(&state.value) {
                    Ok(value) => {
                        state.value = Arc::new(value);
                        state.stamps = found;
                        state.refused = None;
                    }
                    Err(error) if state.refused.as_ref() != Some(&found) => {
                        tracing::error!(
                            "{} as before: {}",
                            self.what,
                            crate::engine::chain(&error)
                        );
                        state.refused = Some(found);
                    }
                    Err(_) => {}
                }
            }
        }
        Arc::clone(&state.value)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // What is in it is whole after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamps(paths: &[PathBuf]) -> Stamps {
    let stamp = |path: &PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    };
    paths.iter().map(stamp).collect()
}
