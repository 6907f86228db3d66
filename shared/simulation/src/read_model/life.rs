//! One life of the projector: it goes on where the last one has left the database, and dies at a
//! place that follows from the seed.

use std::{
    pin::pin,
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use contracts::{event::Service, position::Positions, time::Timestamp};
use host::{
    clock::Ambient,
    engine::{Host, chain},
};
use journal::{memory::MemoryJournal, stored::Entry};
use projector::{
    database::{Database, Writer},
    feed::Feeds,
    projection::Projection,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Difference, end, place::Place, portions::Portions};
use crate::chance::Chance;

/// How long a projector may take for one history. It needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a life ends. Rows and transactions are counted from its beginning; one that has fewer of
/// them lives on until it has caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    Never,
    /// Killed in the middle of a transaction.
    AtRow(u64),
    /// Killed when everything but the commit is written.
    BeforeCommit(u64),
    /// Killed after the commit, before the process knows of it.
    AfterCommit(u64),
    /// Stopped cleanly, while a transaction is stored.
    Stopped(u64),
    /// It lives on: the commit fails, and the batch is stored again on another connection.
    Refused(u64),
}

impl Death {
    pub fn drawn(chance: &mut Chance, events: u64) -> Self {
        // The first one is of the start.
        let commit = chance.between(1, 4);
        match chance.below(8) {
            0..4 => Self::AtRow(chance.between(1, events / 2)),
            4 => Self::BeforeCommit(commit),
            5 => Self::AfterCommit(commit),
            6 => Self::Stopped(commit + 1),
            // A start that fails is a death; afterwards it is tried again.
            _ => Self::Refused(commit + 1),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Died,
    CaughtUp,
}

/// A process of the projector.
pub struct Life<'a> {
    pub journal: &'a MemoryJournal,
    pub entries: &'a [Entry],
    pub death: Death,
    pub chance: Chance,
}

impl Life<'_> {
    /// `told` is how far a reader knows the read model to be.
    pub async fn live(
        mut self,
        place: &mut Place,
        told: &mut Positions,
    ) -> Result<End, Difference> {
        let Database {
            mut writer,
            readers,
        } = Database::open(&place.url()).await?;
        let shutdown = CancellationToken::new();
        let (strike, mut struck) = oneshot::channel();
        let (release, released) = std::sync::mpsc::channel();
        let (open, mut closed) = mpsc::channel(1);
        let doom = Doom {
            strike: Some(strike),
            released,
            shutdown: shutdown.clone(),
            _open: open,
        };
        doom.hang_over(&mut writer, self.death).await?;
        let host = self.host(shutdown);

        let (mut known, mut hastened) = (None, false);
        let survives = matches!(self.death, Death::Refused(_));
        let lived = {
            let mut life = pin!(self.until_caught_up(host, writer, &mut known));
            let (_alarm, mut rung) = alarm();
            loop {
                tokio::select! {
                    biased;
                    Ok(()) = &mut struck, if !hastened => if survives {
                        // What it waits before it tries again passes at once.
                        tokio::time::pause();
                        hastened = true;
                    } else {
                        break None;
                    },
                    ended = &mut life => break Some(ended),
                    Ok(()) = &mut rung => break Some(Err(self.stalled().await?)),
                }
            }
        };
        if hastened {
            tokio::time::resume();
        }
        if matches!(self.death, Death::AtRow(_) | Death::BeforeCommit(_)) && lived.is_none() {
            // As the process has it now, in the middle.
            place.leave_behind()?;
        }
        // The thread of the connection goes on, and finds that nobody is there any more.
        drop(release);
        drop(readers);
        let _ = closed.recv().await;
        if let Some(known) = known {
            told.clone_from(&known.borrow());
        }
        lived.unwrap_or(Ok(End::Died))
    }

    fn host(&mut self, shutdown: CancellationToken) -> Arc<Host> {
        let chance = Chance::of(self.chance.draw());
        let portions = Portions::new(self.journal, self.entries, chance, shutdown.clone());
        Arc::new(Host::new(
            Service::Projector,
            Arc::new(portions),
            Arc::new(Still {
                now: self.journal.now(),
                bytes: self.chance.bytes(),
            }),
            Duration::from_secs(2),
            shutdown,
        ))
    }

    async fn until_caught_up(
        &self,
        host: Arc<Host>,
        writer: Writer,
        known: &mut Option<watch::Receiver<Positions>>,
    ) -> Result<End, Difference> {
        let shutdown = host.shutdown.clone();
        let feeds = Arc::new(Feeds::default());
        let (projection, positions) =
            Projection::start(host, writer, feeds, Arc::default()).await?;
        *known = Some(positions.clone());
        let mut running = pin!(projection.run());
        tokio::select! {
            biased;
            ended = &mut running => as_asked(ended, &shutdown)?,
            caught_up = self.caught_up(positions.clone()) => {
                caught_up?;
                shutdown.cancel();
                as_asked(running.await, &shutdown)?;
            }
        }
        // Whichever of the two was seen first: that is a matter of threads.
        let wanted = end(self.journal).await?;
        Ok(if positions.borrow().covers(&wanted) {
            End::CaughtUp
        } else {
            End::Died
        })
    }

    /// The projector may add to the log what it finds wrong with it.
    async fn caught_up(&self, mut positions: watch::Receiver<Positions>) -> Result<(), Difference> {
        loop {
            let wanted = end(self.journal).await?;
            let covered = positions.wait_for(|reached| reached.covers(&wanted)).await;
            if covered.is_err() {
                // It has ended; whoever waits for it says why.
                std::future::pending::<()>().await;
            }
            if end(self.journal).await? == wanted {
                return Ok(());
            }
        }
    }

    async fn stalled(&self) -> Result<Difference, Difference> {
        let end = end(self.journal).await?;
        Ok(Difference::Stalled { end })
    }
}

fn as_asked(ended: anyhow::Result<()>, shutdown: &CancellationToken) -> Result<(), Difference> {
    match ended {
        Err(error) => Err(Difference::Ended(chain(error.as_ref()))),
        Ok(()) if shutdown.is_cancelled() => Ok(()),
        Ok(()) => Err(Difference::Ended("nobody asked for it".to_owned())),
    }
}

/// What waits for a process: struck on the thread of its connection, which then stands still until
/// the process is gone.
struct Doom {
    strike: Option<oneshot::Sender<()>>,
    released: Receiver<()>,
    shutdown: CancellationToken,
    /// Until the connection is closed.
    _open: mpsc::Sender<()>,
}

impl Doom {
    async fn hang_over(mut self, writer: &mut Writer, death: Death) -> Result<(), sqlx::Error> {
        let mut handle = writer.connection.lock_handle().await?;
        let mut count = 0;
        match death {
            Death::AtRow(row) => handle.set_update_hook(move |_| {
                count += 1;
                if count == row {
                    self.strike_and_wait();
                }
            }),
            Death::Never
            | Death::BeforeCommit(_)
            | Death::AfterCommit(_)
            | Death::Stopped(_)
            | Death::Refused(_) => handle.set_commit_hook(move || {
                count += 1;
                self.commits(death, count)
            }),
        }
        Ok(())
    }

    /// Whether a commit goes on.
    fn commits(&mut self, death: Death, count: u64) -> bool {
        match death {
            Death::BeforeCommit(commit) if commit == count => {
                self.strike_and_wait();
                false
            }
            Death::AfterCommit(commit) if commit == count => {
                self.strike_and_wait();
                true
            }
            Death::Stopped(commit) if commit == count => {
                self.shutdown.cancel();
                true
            }
            Death::Refused(commit) if commit == count => {
                self.strike();
                false
            }
            Death::Never
            | Death::AtRow(_)
            | Death::BeforeCommit(_)
            | Death::AfterCommit(_)
            | Death::Stopped(_)
            | Death::Refused(_) => true,
        }
    }

    fn strike(&mut self) {
        if let Some(strike) = self.strike.take() {
            // Nobody listens where the life has ended meanwhile.
            let _ = strike.send(());
        }
    }

    fn strike_and_wait(&mut self) {
        self.strike();
        // An error is the release: the other end is dropped.
        let _ = self.released.recv();
    }
}

/// Rings after [`PATIENCE`], also where the runtime's clock does not go by itself; not at all once
/// the first of the two is dropped.
fn alarm() -> (std::sync::mpsc::Sender<()>, oneshot::Receiver<()>) {
    let (cancel, cancelled) = std::sync::mpsc::channel();
    let (bell, rung) = oneshot::channel();
    std::thread::spawn(move || {
        if cancelled.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = bell.send(());
        }
    });
    (cancel, rung)
}

/// Time and chance of a process that decides nothing.
struct Still {
    now: Timestamp,
    bytes: [u8; 32],
}

impl Ambient for Still {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn random_bytes(&self) -> [u8; 32] {
        self.bytes
    }
}
