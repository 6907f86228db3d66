//! A log of some kind, and processes on it.

use std::{sync::Arc, time::Duration};

use contracts::time::Timestamp;
use journal::{
    Journal,
    jetstream::{ConnectOptions, InstallOptions, JetStreamJournal, install},
    layout::StreamCount,
    memory::MemoryJournal,
};
use testkit::nats::{Cluster, NatsServer, ServerOptions};

pub enum World {
    Memory(MemoryJournal),
    One {
        server: NatsServer,
        count: StreamCount,
    },
    Three {
        cluster: Cluster,
        count: StreamCount,
    },
}

/// For deliveries that are to come again soon.
pub const SHORT_ACK_WAIT: Duration = Duration::from_secs(2);

impl World {
    pub fn memory(streams: u8) -> Self {
        Self::Memory(MemoryJournal::new(count(streams), now()))
    }

    pub async fn one_server(streams: u8) -> Self {
        let server = NatsServer::start(ServerOptions::default()).await;
        make_streams(&server.url(), streams, 1).await;
        Self::One {
            server,
            count: count(streams),
        }
    }

    pub async fn three_servers(streams: u8) -> Self {
        let cluster = Cluster::start(3).await;
        make_streams(&cluster.url(), streams, 3).await;
        Self::Three {
            cluster,
            count: count(streams),
        }
    }

    /// The log as one more process sees it.
    pub async fn journal(&self) -> Arc<dyn Journal> {
        match self {
            Self::Memory(journal) => Arc::new(journal.clone()),
            Self::One { server, count } => connect(&server.url(), *count).await,
            Self::Three { cluster, count } => connect(&cluster.url(), *count).await,
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

pub async fn make_streams(url: &str, streams: u8, replicas: u8) {
    let options = ConnectOptions::new(url, "installer").streams(count(streams));
    let wanted = InstallOptions {
        replicas,
        ..InstallOptions::new(count(streams))
    };
    install(&options, wanted).await.unwrap();
}

pub async fn connect(url: &str, count: StreamCount) -> Arc<dyn Journal> {
    let options = ConnectOptions::new(url, "test").streams(count);
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
