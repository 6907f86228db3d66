//! The fold of the catalogue stream, kept in memory and confirmed with its leader before
//! something is decided on it.

use std::sync::Arc;

use contracts::{
    planted::{self, Bug},
    position::StreamId,
};
use domain::catalogue::Catalogue;
use journal::{Journal, Unavailable};
use tokio::{sync::Mutex, time::Instant};

use crate::{aggregate, engine::chain};

/// How many events are read at once.
const BATCH: usize = 256;

/// Shared by everything in a process that decides.
pub struct Follower {
    journal: Arc<dyn Journal>,
    state: Mutex<State>,
}

struct State {
    catalogue: Arc<Catalogue>,
    /// When the last confirmation began.
    confirmed: Option<Instant>,
    /// When the last try that failed began, and why it did.
    failed: Option<(Instant, FollowError)>,
    epoch: u64,
}

/// The catalogue up to its leader's last sequence, as of a confirmation that began then.
#[derive(Debug, Clone)]
pub struct Confirmed {
    pub catalogue: Arc<Catalogue>,
    pub begun: Instant,
}

#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error("the catalogue holds an event that this version does not know: upgrade (`{0}`)")]
    Newer(String),
    #[error("the catalogue cannot be read at `{subject}`: {reason}")]
    Unreadable { subject: String, reason: String },
    /// The log was put back to before what was seen: starting again is the only safe way.
    #[error("the catalogue ends at {end}, before {seen} that was read from it")]
    CutBack { end: u64, seen: u64 },
}

impl FollowError {
    /// The same for another who waited for it.
    fn again(&self) -> Self {
        match self {
            Self::Unavailable(error) => {
                let doing = "confirm the catalogue";
                Self::Unavailable(Unavailable::new(doing, chain(error)).refused(error.is_refused()))
            }
            Self::Newer(subject) => Self::Newer(subject.clone()),
            Self::Unreadable { subject, reason } => Self::Unreadable {
                subject: subject.clone(),
                reason: reason.clone(),
            },
            Self::CutBack { end, seen } => Self::CutBack {
                end: *end,
                seen: *seen,
            },
        }
    }
}

impl Follower {
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        let epoch = journal.epoch();
        Self {
            journal,
            state: Mutex::new(State {
                catalogue: Arc::new(Catalogue::empty()),
                confirmed: None,
                failed: None,
                epoch,
            }),
        }
    }

    /// As of a confirmation that began after `earliest`, and no earlier than position `at_least`,
    /// which a leader had by then. Whoever waits meanwhile shares the answer, also that
    /// there is none: each waiting for a try of its own would wait for all of them.
    pub async fn confirm_since(
        &self,
        earliest: Instant,
        at_least: u64,
    ) -> Result<Confirmed, FollowError> {
        let mut state = self.state.lock().await;
        let epoch = self.journal.epoch();
        if let Some(begun) = state.confirmed
            && begun > earliest
            && state.catalogue.sequence() >= at_least
            && state.epoch == epoch
        {
            let catalogue = Arc::clone(&state.catalogue);
            return Ok(Confirmed { catalogue, begun });
        }
        if planted::is(Bug::OldBundle) && state.confirmed.is_some() && state.epoch == epoch {
            // It was confirmed, and bundles seldom change.
            let catalogue = Arc::clone(&state.catalogue);
            let begun = Instant::now();
            return Ok(Confirmed { catalogue, begun });
        }
        if let Some((begun, error)) = &state.failed
            && *begun > earliest
        {
            return Err(error.again());
        }
        let begun = Instant::now();
        match self.confirm(&mut state.catalogue).await {
            Ok(()) => {
                state.confirmed = Some(begun);
                state.epoch = epoch;
                let end = state.catalogue.sequence();
                if end < at_least {
                    // As from a leader that is none any more and does not know it yet.
                    let behind = format!("it ends at {end}, before {at_least} that was decided on");
                    return Err(Unavailable::new("confirm the catalogue", behind).into());
                }
                let catalogue = Arc::clone(&state.catalogue);
                Ok(Confirmed { catalogue, begun })
            }
            Err(error) => {
                state.failed = Some((begun, error.again()));
                Err(error)
            }
        }
    }

    /// The catalogue of [`Self::confirm_since`].
    pub async fn confirmed_since(&self, earliest: Instant) -> Result<Arc<Catalogue>, FollowError> {
        Ok(self.confirm_since(earliest, 0).await?.catalogue)
    }

    async fn confirm(&self, catalogue: &mut Arc<Catalogue>) -> Result<(), FollowError> {
        let end = self.journal.last_sequence(StreamId::Catalogue).await?;
        let seen = catalogue.sequence();
        if end < seen {
            return Err(FollowError::CutBack { end, seen });
        }
        if end > seen {
            fold_to(self.journal.as_ref(), Arc::make_mut(catalogue), end).await?;
        }
        Ok(())
    }
}

/// Reads on until `catalogue` has reached `end`.
pub async fn fold_to(
    journal: &dyn Journal,
    catalogue: &mut Catalogue,
    end: u64,
) -> Result<(), FollowError> {
    while catalogue.sequence() < end {
        let after = catalogue.sequence();
        let entries = journal.read(StreamId::Catalogue, after, BATCH).await?;
        if entries.is_empty() {
            // A replica behind its leader: what cannot be confirmed is not decided.
            return Err(Unavailable::new(
                "read the catalogue up to its leader's last sequence",
                "a replica lags behind",
            )
            .into());
        }
        for entry in entries {
            let sequence = entry.position.sequence;
            if sequence > end {
                return Ok(());
            }
            match entry.recorded {
                Ok(recorded) if aggregate::known(&recorded).is_err() => {
                    return Err(FollowError::Newer(entry.raw.subject));
                }
                Ok(recorded) => catalogue.apply(sequence, &recorded),
                Err(error) if error.is_newer() => {
                    return Err(FollowError::Newer(entry.raw.subject));
                }
                Err(error) => {
                    return Err(FollowError::Unreadable {
                        subject: entry.raw.subject,
                        reason: error.to_string(),
                    });
                }
            }
        }
    }
    Ok(())
}
