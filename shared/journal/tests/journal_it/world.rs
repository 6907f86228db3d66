//! A log of some kind, and processes on it.

use std::{sync::Arc, time::Duration};

use contracts::{position::StreamId, time::Timestamp};
use journal::{
    Journal,
    archive::{Due, LiveWindow, Purged, WindowSize},
    broker::Durability,
    jetstream::{Archiver, ConnectOptions, InstallOptions, JetStreamJournal, install},
    layout::StreamCount,
    memory::MemoryJournal,
};
use testkit::nats::{Cluster, NatsServer, ServerOptions};

pub enum World {
    Memory(MemoryJournal),
    One {
        server: NatsServer,
        count: StreamCount,
        durability: Durability,
    },
    Three {
        cluster: Cluster,
        count: StreamCount,
        durability: Durability,
    },
}

/// For deliveries that are to come again soon.
pub const SHORT_ACK_WAIT: Duration = Duration::from_secs(2);

impl World {
    pub fn memory(streams: u8) -> Self {
        Self::Memory(MemoryJournal::new(count(streams), now()))
    }

    pub async fn one_server(streams: u8) -> Self {
        Self::one(streams, Durability::Process).await
    }

    /// Every append is fsynced, and those of concurrent writers are gathered.
    pub async fn one_server_that_fsyncs(streams: u8) -> Self {
        Self::one(streams, Durability::Disk).await
    }

    async fn one(streams: u8, durability: Durability) -> Self {
        let server = NatsServer::start(ServerOptions {
            sync_always: durability == Durability::Disk,
            ..ServerOptions::default()
        })
        .await;
        make_streams(&server.url(), streams, 1).await;
        Self::One {
            server,
            count: count(streams),
            durability,
        }
    }

    pub async fn three_servers(streams: u8) -> Self {
        Self::three(streams, Durability::Process).await
    }

    /// As [`Self::one_server_that_fsyncs`].
    pub async fn three_servers_that_fsync(streams: u8) -> Self {
        Self::three(streams, Durability::Disk).await
    }

    async fn three(streams: u8, durability: Durability) -> Self {
        let cluster = Cluster::start_with(3, durability == Durability::Disk).await;
        make_streams(&cluster.url(), streams, 3).await;
        Self::Three {
            cluster,
            count: count(streams),
            durability,
        }
    }

    /// The log as one more process sees it.
    pub async fn journal(&self) -> Arc<dyn Journal> {
        let (url, count, durability) = match self {
            Self::Memory(journal) => return Arc::new(journal.clone()),
            Self::One {
                server,
                count,
                durability,
            } => (server.url(), *count, *durability),
            Self::Three {
                cluster,
                count,
                durability,
            } => (cluster.url(), *count, *durability),
        };
        connect_for(&url, count, durability).await
    }

    /// How many sequences are archived at once.
    pub fn window() -> u64 {
        WINDOW.get()
    }

    /// Seals, verifies and purges whatever can be of a stream, as if nobody else consumed it; up to
    /// where it is purged then.
    pub async fn archive(&self, stream: StreamId) -> u64 {
        match self {
            Self::Memory(journal) => {
                let end = journal.last_sequence(stream).await.unwrap();
                journal.archive(stream, (end - 1) / WINDOW.get() * WINDOW.get())
            }
            Self::One { server, count, .. } => archive(&server.url(), *count, stream).await,
            Self::Three { cluster, count, .. } => archive(&cluster.url(), *count, stream).await,
        }
    }

    /// Up to where a stream is purged.
    pub async fn purged(&self, stream: StreamId) -> u64 {
        match self {
            Self::Memory(journal) => journal.archive(stream, 0),
            Self::One { server, count, .. } => purged(&server.url(), *count, stream).await,
            Self::Three { cluster, count, .. } => purged(&cluster.url(), *count, stream).await,
        }
    }

    /// A client that knows nothing of the log's rules.
    pub async fn raw_client(&self) -> Option<async_nats::Client> {
        match self {
            Self::Memory(_) => None,
            Self::One { server, .. } => Some(server.client().await),
            Self::Three { cluster, .. } => Some(cluster.servers[0].client().await),
        }
    }

    pub fn now(&self) -> Timestamp {
        match self {
            Self::Memory(journal) => journal.now(),
            Self::One { .. } | Self::Three { .. } => now(),
        }
    }

    /// In memory time passes only so; elsewhere whoever waits sees it pass.
    pub fn pass(&self, time: Duration) {
        match self {
            Self::Memory(journal) => {
                let ms = u64::try_from(time.as_millis()).unwrap();
                journal.advance(journal.now().plus_ms(ms));
            }
            Self::One { .. } | Self::Three { .. } => {}
        }
    }
}

/// Of so few events that a test fills one.
pub const WINDOW: WindowSize = match WindowSize::try_new(16) {
    Some(size) => size,
    None => WindowSize::USUAL,
};

pub fn live(events: u64) -> LiveWindow {
    LiveWindow::try_new(events, Duration::ZERO).unwrap()
}

/// An archiver that minds no consumer.
pub async fn archiver(url: &str, count: StreamCount) -> Archiver {
    let options = ConnectOptions::new(url, "archiver").streams(count);
    Archiver::heeding(&options, live(1), Vec::new())
        .await
        .unwrap()
}

async fn archive(url: &str, count: StreamCount, stream: StreamId) -> u64 {
    let archiver = archiver(url, count).await;
    let mut standing = archiver.standing(stream).await.unwrap();
    while archiver
        .due(stream, standing.sealed, standing.last)
        .await
        .unwrap()
        == Due::Now
    {
        let sealing = archiver.open(stream, standing.sealed).await.unwrap();
        sealing.seal().await.unwrap();
        standing.sealed += 1;
    }
    for index in archiver.first_live(&standing)..standing.sealed {
        let verified = archiver.verify(stream, index).await.unwrap();
        let done = archiver.purge(verified).await.unwrap();
        assert!(matches!(done, Purged::UpTo(_)), "{done:?}");
    }
    archiver.close().await;
    purged(url, count, stream).await
}

async fn purged(url: &str, count: StreamCount, stream: StreamId) -> u64 {
    let archiver = archiver(url, count).await;
    let standing = archiver.standing(stream).await.unwrap();
    archiver.close().await;
    standing.first - 1
}

pub async fn make_streams(url: &str, streams: u8, replicas: u8) {
    let options = ConnectOptions::new(url, "installer").streams(count(streams));
    let wanted = InstallOptions {
        replicas: Some(replicas),
        archive_window: WINDOW,
        ..InstallOptions::new(count(streams))
    };
    install(&options, wanted).await.unwrap();
}

pub async fn connect(url: &str, count: StreamCount) -> Arc<dyn Journal> {
    connect_for(url, count, Durability::Process).await
}

async fn connect_for(url: &str, count: StreamCount, durability: Durability) -> Arc<dyn Journal> {
    let options = ConnectOptions::new(url, "test")
        .streams(count)
        .durability(durability);
    match JetStreamJournal::connect(&options).await {
        Ok(journal) => Arc::new(journal),
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    }
}

pub fn count(streams: u8) -> StreamCount {
    StreamCount::try_new(streams).unwrap()
}

/// A test of time needs the time.
#[allow(
    clippy::disallowed_methods,
    reason = "the host's clock is not at hand here"
)]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

/// For what must come; a failure otherwise.
pub async fn soon<T>(waiting: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, waiting)
        .await
        .expect("nothing came within 30 s")
}

/// For what must not come.
pub async fn nothing<T: std::fmt::Debug>(world: &World, waiting: impl Future<Output = T>) {
    let patience = match world {
        World::Memory(_) => Duration::from_millis(1),
        World::One { .. } | World::Three { .. } => Duration::from_millis(400),
    };
    if let Ok(came) = tokio::time::timeout(patience, waiting).await {
        panic!("this came: {came:?}");
    }
}
