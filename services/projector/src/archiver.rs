//! The archiver: seals what has left the live window, and purges what every service has seen.
//!
//! It is woken by what the projection reads, and by one timer for what is yet too young. Whatever
//! fails is tried again, and nothing is purged meanwhile; the read model does not wait for it. Any
//! number of projectors archive at once, as each stage may be done again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use contracts::{
    position::{Positions, StreamId},
    subject::{AggregateId, ROOT},
};
use host::{
    engine::{Host, chain},
    failpoint,
    incident::{self, Incident},
};
use journal::{
    archive::{ArchiveError, Due, LiveWindow, Purged},
    jetstream::{Archiver, ConnectOptions},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::history::FORKED;

/// When a consumer is asked again that has yet to see what is to be purged: what it acknowledges is
/// no event.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// After what may pass by itself, and after what an operator has to mend.
const RETRY_AFTER: Duration = Duration::from_secs(30);
const MENDED_AFTER: Duration = Duration::from_mins(10);

/// What a stream waits for: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait {
    /// That the projection has read so far.
    sequence: u64,
    /// That it is so late.
    at: Option<Instant>,
}

impl Wait {
    const NOTHING: Self = Self {
        sequence: 0,
        at: None,
    };

    const FOR_EVER: Self = Self {
        sequence: u64::MAX,
        at: None,
    };

    fn until(at: Instant) -> Self {
        Self {
            at: Some(at),
            ..Self::FOR_EVER
        }
    }

    fn is_over(&self, reached: u64, now: Instant) -> bool {
        self.sequence <= reached || self.at.is_some_and(|at| at <= now)
    }

    fn or(self, other: Self) -> Self {
        Self {
            sequence: self.sequence.min(other.sequence),
            at: [self.at, other.at].into_iter().flatten().min(),
        }
    }
}

/// Archives until shutdown; nothing, where there is no credential for it.
pub async fn run(
    host: Arc<Host>,
    options: Option<(ConnectOptions, LiveWindow)>,
    positions: watch::Receiver<Positions>,
) {
    let Some((options, live)) = options else {
        tracing::warn!(
            "NOTHING IS ARCHIVED, and the streams of the log grow for ever: give the projector \
             `{}`",
            host::config::names::ARCHIVER_PASSWORD_FILE
        );
        return;
    };
    let shutdown = host.shutdown.clone();
    tokio::select! {
        () = archive(&host, &options, live, positions) => {}
        () = shutdown.cancelled() => {}
    }
}

async fn archive(
    host: &Host,
    options: &ConnectOptions,
    live: LiveWindow,
    mut positions: watch::Receiver<Positions>,
) {
    let archiver = loop {
        match Archiver::connect(options, live).await {
            Ok(archiver) => break archiver,
            Err(error) => {
                host.metrics.archiving.fails(true);
                let reason = chain(&error);
                tracing::warn!(reason, "nothing is archived: the archiver cannot connect");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    };
    let (events, age) = (live.events(), live.age());
    tracing::info!(
        events,
        age_seconds = age.as_secs(),
        "archiving what is older"
    );
    let mut waits: BTreeMap<StreamId, Wait> = archiver
        .streams()
        .into_iter()
        .map(|stream| (stream, Wait::NOTHING))
        .collect();
    let mut store = Store::default();
    loop {
        let reached = positions.borrow_and_update().clone();
        let (mut failing, mut has_worked) = (false, false);
        for (stream, wait) in &mut waits {
            if !wait.is_over(reached.get(*stream), Instant::now()) {
                continue;
            }
            has_worked = true;
            *wait = match (Work {
                host,
                archiver: &archiver,
                stream: *stream,
            })
            .run()
            .await
            {
                Ok(wait) => wait,
                Err(error) => {
                    failing = true;
                    archiver.rest();
                    failed(host, *stream, &error).await
                }
            };
        }
        if has_worked {
            host.metrics.archiving.fails(failing);
            store.look(host, &archiver).await;
        }
        let timer = waits.values().filter_map(|wait| wait.at).min();
        let timer = async {
            match timer {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = positions.changed() => if changed.is_err() {
                // The projection has ended, and the process with it.
                return;
            },
            () = timer => {}
        }
    }
}

/// One stream, for as long as there is something to do.
struct Work<'a> {
    host: &'a Host,
    archiver: &'a Archiver,
    stream: StreamId,
}

impl Work<'_> {
    async fn run(&self) -> Result<Wait, ArchiveError> {
        let (archiver, stream) = (self.archiver, self.stream);
        // What the first window waits for that is sealed and not purged.
        let mut held = Wait::FOR_EVER;
        loop {
            let standing = archiver.standing(stream).await?;
            let archiving = &self.host.metrics.archiving;
            archiving.stands(stream, standing.first, standing.last, standing.sealed);
            let oldest = archiver.first_live(&standing);
            if oldest < standing.sealed && held == Wait::FOR_EVER {
                match self.purge(oldest).await? {
                    Purged::UpTo(sequence) => {
                        tracing::info!(stream = stream.name(), sequence, "archived and purged");
                    }
                    Purged::StillLive(due) => held = wait(due, standing.last),
                    Purged::Awaited { consumer, floor } => {
                        let stream = stream.name();
                        tracing::debug!(stream, consumer, floor, "a consumer holds up the purge");
                        held = Wait::until(Instant::now() + ASK_AGAIN_AFTER);
                    }
                }
                continue;
            }
            match archiver.due(stream, standing.sealed, standing.last).await? {
                Due::Now => match self.seal(standing.sealed).await {
                    Ok(()) | Err(ArchiveError::Overtaken { .. }) => {}
                    Err(error) => return Err(error),
                },
                due @ (Due::AfterEvents(_) | Due::AfterTime(_)) => {
                    archiver.rest();
                    return Ok(wait(due, standing.last).or(held));
                }
            }
        }
    }

    async fn seal(&self, index: u64) -> Result<(), ArchiveError> {
        let mut sealing = self.archiver.open(self.stream, index).await?;
        let written = || failpoint::reach("archive-part-written");
        while sealing.write_next(written).await? {}
        for subject in sealing.aside() {
            // The projection raises the incident.
            tracing::warn!(subject, "archived aside: it does not continue its history");
        }
        failpoint::reach("archive-parts-written");
        sealing.seal().await?;
        failpoint::reach("archive-sealed");
        Ok(())
    }

    async fn purge(&self, index: u64) -> Result<Purged, ArchiveError> {
        // Asked first, as to verify reads all of it.
        if let Some(held) = self.archiver.holds_up(self.stream, index).await? {
            return Ok(held);
        }
        let verified = self.archiver.verify(self.stream, index).await?;
        failpoint::reach("archive-verified");
        let purged = self.archiver.purge(verified).await?;
        if let Purged::UpTo(_) = purged {
            failpoint::reach("archive-purged");
        }
        Ok(purged)
    }
}

fn wait(due: Due, last: u64) -> Wait {
    match due {
        Due::Now => Wait::NOTHING,
        Due::AfterEvents(events) => Wait {
            sequence: last + events,
            at: None,
        },
        Due::AfterTime(time) => Wait::until(Instant::now() + time),
    }
}

/// Says what is wrong, and when it is tried again.
async fn failed(host: &Host, stream: StreamId, error: &ArchiveError) -> Wait {
    let (stream, reason) = (stream.name(), chain(error));
    let passes = match error {
        ArchiveError::Unavailable(error) => !error.is_refused(),
        ArchiveError::Overtaken { .. } | ArchiveError::OutOfOrder { .. } => true,
        ArchiveError::Forked { .. }
        | ArchiveError::Missing { .. }
        | ArchiveError::Differs { .. } => false,
    };
    if passes {
        tracing::warn!(stream, reason, "not archived yet");
        return Wait::until(Instant::now() + RETRY_AFTER);
    }
    tracing::error!(
        stream,
        reason,
        "not archived: nothing more of the stream is purged"
    );
    if let ArchiveError::Forked { subject } = error
        && let Some(incident) = forked(subject, reason)
        && let Err(error) = incident::raise(host, &incident).await
    {
        let reason = chain(&error);
        tracing::error!(reason, "an incident is not stored yet");
    }
    Wait::until(Instant::now() + MENDED_AFTER)
}

/// About the aggregate whose part it is.
fn forked(subject: &str, cause: String) -> Option<Incident> {
    let tokens: Vec<&str> = subject.split('.').skip(2).take(4).collect();
    let aggregate = AggregateId::from_prefix(&format!("{ROOT}.{}", tokens.join("."))).ok()?;
    Some(Incident {
        workspace: aggregate.workspace().clone(),
        subject_id: aggregate.id().to_owned(),
        code: FORKED,
        cause,
        about: aggregate.to_string(),
        event: None,
    })
}

/// How full the broker is.
#[derive(Default)]
struct Store {
    was_half_full: bool,
}

impl Store {
    async fn look(&mut self, host: &Host, archiver: &Archiver) {
        let (bytes, max) = match archiver.broker_store().await {
            Ok(stored) => stored,
            Err(error) => {
                let reason = chain(&error);
                tracing::debug!(reason, "how full the broker is, it does not say");
                return;
            }
        };
        host.metrics.archiving.stores(bytes, max);
        let is_half_full = max.is_some_and(|max| bytes > max / 2);
        if is_half_full && !self.was_half_full {
            tracing::warn!(
                bytes,
                max,
                "the broker's store is more than half full: give it more room before it refuses \
                 appends"
            );
        }
        self.was_half_full = is_half_full;
    }
}
