//! The log on NATS JetStream.

mod append;
mod archived;
mod archiver;
mod caller;
mod consume;
mod direct;
pub mod floor;
mod follow;
mod group;
mod inbox;
mod link;
mod load;
mod objects;
mod outside;
mod pushed;
mod serve;
mod settings;
mod time;

use std::{error::Error, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use contracts::{
    canonical::Digest,
    envelope::Envelope,
    position::{Position, Positions, StreamId},
    record::{Head, Recorded},
    subject::AggregateId,
};
use serde::Deserialize;
use serde_json::Value;

use self::{
    group::Groups,
    link::{CallError, Link, patiently},
    outside::Outside,
    time::BrokerTime,
};
use crate::{
    Journal, Unavailable,
    append::AppendError,
    archive::WindowSize,
    broker::Durability,
    delivery::{ConsumerSpec, Deliveries},
    history::{LoadError, Page, Read},
    layout::StreamCount,
    object::ObjectError,
    request::{MESSAGE_BYTES_MAX, Reply, Request, RequestError, Requests},
    stored::Entry,
    tail::{Scope, Tail, TailError},
    timer::Timer,
};

pub use self::archiver::{Archiver, Sealing, Standing, Verified};
pub use self::caller::Caller;
pub use self::group::Fate;
pub use self::inbox::{Inbox, Losses, Refusals, Unread};
pub use self::settings::{Difference, InstallOptions, Installed, install};

/// The oldest broker that has scheduled messages, atomic batches and consistent direct gets.
const OLDEST_BROKER: (u32, u32) = (2, 12);

/// Above the 7 s for which appends may fail while a leader is elected.
const APPEND_DEADLINE: Duration = Duration::from_secs(10);

/// How to reach the broker, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// One address or several, separated by commas.
    pub url: String,
    pub user: Option<String>,
    pub password: Option<String>,
    pub tls: BrokerTls,
    /// Shown by the broker's monitoring.
    pub name: String,
    /// Where answers come: the broker lets a user subscribe to its own only.
    pub inbox_prefix: String,
    pub streams: StreamCount,
    /// What the broker is configured for: where every append is fsynced, appends are gathered.
    pub durability: Durability,
    /// How long an append is tried before it ends as unknown.
    pub append_deadline: Duration,
}

/// How the connection is encrypted, all in PEM. The files are read at each connection, so that
/// they may be changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerTls {
    /// Who vouches for the broker; the machine's authorities where it is left out.
    pub ca_file: Option<PathBuf>,
    /// A certificate and its key, for a broker that asks for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl ConnectOptions {
    /// Whether a connection that is not encrypted is refused: one address that says so is enough,
    /// and so is a file that is of use for nothing else.
    pub fn requires_tls(&self) -> bool {
        let mut addresses = self.url.split(',').map(str::trim);
        addresses.any(|url| url.starts_with("tls://")) || self.tls != BrokerTls::default()
    }

    /// Without credentials. The inbox prefix is `_INBOX_<name>`, as permissions give it to the
    /// user of that name.
    pub fn new(url: impl Into<String>, name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            url: url.into(),
            user: None,
            password: None,
            tls: BrokerTls::default(),
            inbox_prefix: format!("_INBOX_{name}"),
            name,
            streams: StreamCount::ONE,
            durability: Durability::Process,
            append_deadline: APPEND_DEADLINE,
        }
    }

    /// Whether a password goes to another machine where whoever is on the way can read it.
    pub fn exposes_password(&self) -> bool {
        let is_elsewhere = |url: &str| {
            let address = url.split_once("://").map_or(url, |(_, address)| address);
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let is_here = host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
            host != "localhost" && !is_here
        };
        let mut addresses = self.url.split(',').map(str::trim);
        self.password.is_some() && !self.requires_tls() && addresses.any(is_elsewhere)
    }

    #[must_use]
    pub fn credentials(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: Some(user.into()),
            password: Some(password.into()),
            ..self
        }
    }

    #[must_use]
    pub fn tls(self, tls: BrokerTls) -> Self {
        Self { tls, ..self }
    }

    #[must_use]
    pub fn streams(self, streams: StreamCount) -> Self {
        Self { streams, ..self }
    }

    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }
}

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot connect to the broker at `{url}`")]
    Connect {
        url: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error(
        "the broker announces nats-server {announced}, and the log needs 2.12 or newer: install \
         2.15.1, for example with `deploy/get-nats-server`"
    )]
    TooOld { announced: String },
    #[error(
        "the broker takes messages of at most {found} bytes: set `max_payload` to at least \
         {MESSAGE_BYTES_MAX}"
    )]
    MessageLimit { found: usize },
    #[error("the stream `{stream}` is missing: run `controlplane install`")]
    Missing { stream: String },
    #[error(
        "this log has {log} streams, and {given} were given: the number is fixed when a log is \
         made"
    )]
    StreamCount { log: String, given: u8 },
    #[error(
        "streams have other settings than the log needs: {}",
        .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    Settings(Vec<Difference>),
    #[error(
        "this broker has one account for all its users, and callers need one each: write its \
         configuration anew with `controlplane broker-config`, which says what becomes of streams \
         that are there"
    )]
    OneAccount,
    #[error(
        "{waiting} messages wait in the inbox that all workspaces shared in older logs: let intake of \
         the version before take them, and install again"
    )]
    SharedInbox { waiting: u64 },
    #[error("cannot look after the stream `{stream}`")]
    Stream {
        stream: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// The log as one process sees it. Reconnects for as long as it lives.
pub struct JetStreamJournal {
    link: Link,
    count: StreamCount,
    window: WindowSize,
    append_deadline: Duration,
    /// Where appends are gathered.
    groups: Option<Arc<Groups>>,
    time: Arc<BrokerTime>,
    outside: Arc<Outside>,
}

impl JetStreamJournal {
    /// Refuses a broker that is too old, and streams that are not as [`install`] makes them.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, ConnectError> {
        let link = open(options).await?;
        let window = settings::verify(&link, options.streams).await?;
        let groups = match options.durability {
            Durability::Process => None,
            Durability::Disk => {
                let streams = options.streams.streams();
                Some(Arc::new(Groups::start(&link, streams)))
            }
        };
        Ok(Self {
            link,
            groups,
            count: options.streams,
            window,
            append_deadline: options.append_deadline,
            time: Arc::default(),
            outside: Arc::new(Outside::of(options)),
        })
    }
}

/// What is live of a stream.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Ends {
    /// One after the last, where nothing is.
    first_seq: u64,
    last_seq: u64,
}

impl JetStreamJournal {
    /// As the stream's leader has them.
    async fn ends_of(&self, stream: StreamId) -> Result<Ends, Unavailable> {
        #[derive(Deserialize)]
        struct Info {
            state: Ends,
        }
        let name = stream.name();
        let operation = format!("STREAM.INFO.{name}");
        let info: Result<Info, _> = self
            .link
            .api_patiently(&operation, &Value::Null, direct::READ_PATIENCE)
            .await;
        info.map(|info| info.state)
            .map_err(|error| Unavailable::new(format!("ask for the end of `{name}`"), error))
    }

    /// How many events a stream holds, and their bytes on disk.
    pub async fn size(&self, stream: StreamId) -> Result<(u64, u64), Unavailable> {
        #[derive(Deserialize)]
        struct Info {
            state: State,
        }
        #[derive(Deserialize)]
        struct State {
            messages: u64,
            bytes: u64,
        }
        let operation = format!("STREAM.INFO.{}", stream.name());
        let info: Result<Info, _> = self
            .link
            .api_patiently(&operation, &Value::Null, direct::READ_PATIENCE)
            .await;
        match info {
            Ok(Info { state }) => Ok((state.messages, state.bytes)),
            Err(error) => Err(Unavailable::new("ask for the size of a stream", error)),
        }
    }

    /// Has whoever counts told of each group of appends: how many events it had, and what became of
    /// it. Only the first to ask is told.
    pub fn tell_of_groups(&self, tell: impl Fn(u32, Fate) + Send + Sync + 'static) {
        if let Some(groups) = &self.groups {
            let _ = groups.told.set(Box::new(tell));
        }
    }

    /// Whether this broker asks for a password, so that it knows who asks for what.
    pub fn has_users(&self) -> bool {
        self.link.client.server_info().auth_required
    }
}

async fn open(options: &ConnectOptions) -> Result<Link, ConnectError> {
    let link = Link::open(options)
        .await
        .map_err(|source| ConnectError::Connect {
            url: options.url.clone(),
            source: source.into(),
        })?;
    let server = link.client.server_info();
    if !is_new_enough(&server.version) {
        return Err(ConnectError::TooOld {
            announced: server.version,
        });
    }
    if server.max_payload < MESSAGE_BYTES_MAX {
        return Err(ConnectError::MessageLimit {
            found: server.max_payload,
        });
    }
    Ok(link)
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST_BROKER,
        _ => false,
    }
}

#[async_trait]
impl Journal for JetStreamJournal {
    fn stream_count(&self) -> StreamCount {
        self.count
    }

    fn epoch(&self) -> u64 {
        self.link.epoch()
    }

    async fn reconnected(&self, epoch: u64) {
        self.link.reconnected(epoch).await;
    }

    fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    async fn append(&self, envelope: &Envelope) -> Result<Position, AppendError> {
        self.append_event(envelope).await
    }

    async fn load(
        &self,
        aggregate: &AggregateId,
        read: Read,
    ) -> Result<Vec<(Position, Recorded)>, LoadError> {
        self.load_events(aggregate, read).await
    }

    async fn page(&self, aggregate: &AggregateId, after: Option<&Head>) -> Result<Page, LoadError> {
        self.page_of(aggregate, after).await
    }

    async fn head(&self, aggregate: &AggregateId) -> Result<Option<(Position, Head)>, LoadError> {
        self.head_of(aggregate).await
    }

    async fn is_archived(&self, aggregate: &AggregateId) -> Result<bool, Unavailable> {
        self.has_parts(aggregate).await
    }

    async fn waiting(&self) -> Result<u64, Unavailable> {
        self.pending().await
    }

    async fn last_sequence(&self, stream: StreamId) -> Result<u64, Unavailable> {
        Ok(self.ends_of(stream).await?.last_seq)
    }

    async fn read(
        &self,
        stream: StreamId,
        after: u64,
        max_events: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        self.read_after(stream, after, max_events).await
    }

    async fn tail(&self, after: &Positions, scope: Scope) -> Result<Box<dyn Tail>, TailError> {
        self.follow(after, scope).await
    }

    async fn consume(&self, spec: ConsumerSpec) -> Result<Box<dyn Deliveries>, Unavailable> {
        self.consume_durably(spec).await
    }

    async fn arm(&self, timer: &Timer) -> Result<(), Unavailable> {
        let doing = || format!("arm `{}`", timer.key);
        let now = self.time.now(&self.link).await;
        let now = now.map_err(|error| Unavailable::new(doing(), error))?;
        let schedule = format!("@at {}", now.plus_ms(timer.after_ms));
        let target = timer.due_subject();
        let mut headers = vec![
            ("Nats-Schedule", schedule.as_str()),
            ("Nats-Schedule-Target", target.as_str()),
        ];
        if timer.stays {
            headers.push(("Nats-Expected-Last-Subject-Sequence", "0"));
        }
        let subject = timer.armed_subject();
        let payload = Bytes::from(timer.to_bytes());
        let armed = patiently(self.append_deadline, || {
            append::arm(&self.link, &subject, &headers, payload.clone())
        });
        match armed.await {
            Ok(()) => Ok(()),
            Err(error) => {
                let refused = !error.is_transient();
                Err(Unavailable::new(doing(), error).refused(refused))
            }
        }
    }

    async fn put_object(&self, bytes: Bytes) -> Result<Digest, ObjectError> {
        self.put(bytes).await
    }

    async fn get_object(&self, digest: &Digest) -> Result<Bytes, ObjectError> {
        self.get(digest).await
    }

    async fn request(&self, request: Request) -> Result<Reply, RequestError> {
        self.outside.request(request).await
    }

    async fn serve(&self, subject: &str, queue: &str) -> Result<Box<dyn Requests>, Unavailable> {
        serve::serve(&self.link, subject, queue).await
    }

    async fn close(&self) {
        if let Some(groups) = &self.groups {
            groups.close().await;
        }
        self.outside.close().await;
        self.link.close().await;
    }
}

impl From<CallError> for ObjectError {
    fn from(error: CallError) -> Self {
        Self::Unavailable(Unavailable::new("use the object store", error))
    }
}
