//! The connection: requests that notice when it was lost, or when the broker forbids them.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{
    Client, Event, HeaderMap, HeaderName, HeaderValue, Message, Request, ServerAddr, ServerError,
    Subscriber, client::RequestErrorKind,
};
use bytes::Bytes;
use contracts::time::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{sync::watch, time::timeout};

use super::ConnectOptions;

/// How long one try of an API request may take. Long enough for an fsync on a busy disk, short
/// enough that several tries fit into the time in which a new leader is elected.
pub(super) const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest pause between two attempts to reach the broker: what a restarted broker waits for
/// its clients.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);

/// Messages that one subscription holds in memory; above the most that the broker sends ahead of
/// an answer (flow control stops it at 32 MiB).
pub(super) const SUBSCRIPTION_MESSAGES: usize = 65_536;

#[derive(Clone)]
pub(super) struct Link {
    pub client: Client,
    epoch: watch::Receiver<u64>,
    refusal: watch::Receiver<String>,
    connected: Arc<AtomicBool>,
}

/// A request without a usable answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum CallError {
    #[error("no answer in time")]
    Timeout,
    #[error("nobody listens: JetStream is not ready")]
    NoResponders,
    #[error("the connection was lost meanwhile")]
    Reconnected,
    /// Another consumer goes on where this one was.
    #[error("the consumer is at its end: {0}")]
    Ended(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    Client(String),
    #[error("an answer that is not understood: {0}")]
    Answer(String),
    #[error("JetStream answers: {0}")]
    Api(ApiError),
}

/// An error that JetStream answers with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{description} ({code}, {err_code})")]
pub(super) struct ApiError {
    pub code: u16,
    #[serde(default)]
    pub err_code: u16,
    #[serde(default)]
    pub description: String,
}

impl CallError {
    /// Whether the same request may do better a little later.
    pub fn is_transient(&self) -> bool {
        /// "no suitable peers for placement": a server that has just come up counts as one that is
        /// away until it is heard of.
        const NO_PEERS: u16 = 10005;
        match self {
            Self::Timeout | Self::NoResponders | Self::Reconnected | Self::Ended(_) => true,
            Self::Api(error) => {
                matches!(error.code, 408 | 429 | 500 | 503) || error.err_code == NO_PEERS
            }
            Self::Forbidden(_) | Self::Client(_) | Self::Answer(_) => false,
        }
    }

    pub fn api_code(&self) -> Option<u16> {
        match self {
            Self::Api(error) => Some(error.err_code),
            Self::Timeout
            | Self::NoResponders
            | Self::Reconnected
            | Self::Ended(_)
            | Self::Forbidden(_)
            | Self::Client(_)
            | Self::Answer(_) => None,
        }
    }
}

impl Link {
    pub async fn open(options: &ConnectOptions) -> Result<Self, async_nats::ConnectError> {
        let (epoch, epoch_receiver) = watch::channel(0);
        let (refusal, refusal_receiver) = watch::channel(String::new());
        let connected = Arc::new(AtomicBool::new(false));
        let state = Arc::new((epoch, refusal, Arc::clone(&connected)));
        let mut broker = async_nats::ConnectOptions::new()
            .name(&options.name)
            .custom_inbox_prefix(&options.inbox_prefix)
            .max_reconnects(None)
            .subscription_capacity(SUBSCRIPTION_MESSAGES)
            .reconnect_delay_callback(|attempts| {
                let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
                Duration::from_millis(20)
                    .saturating_mul(attempts)
                    .min(RECONNECT_DELAY_MAX)
            })
            .event_callback(move |event| {
                let state = Arc::clone(&state);
                async move {
                    let (epoch, refusal, connected) = state.as_ref();
                    observe(event, epoch, refusal, connected);
                }
            });
        if let (Some(user), Some(password)) = (&options.user, &options.password) {
            broker = broker.user_and_password(user.clone(), password.clone());
        }
        if options.requires_tls() {
            broker = broker.require_tls(true);
        }
        if let Some(file) = &options.tls.ca_file {
            broker = broker.add_root_certificates(file.clone());
        }
        if let Some((cert, key)) = &options.tls.client {
            broker = broker.add_client_certificate(cert.clone(), key.clone());
        }
        let addresses = options
            .url
            .split(',')
            .map(str::parse)
            .collect::<Result<Vec<ServerAddr>, _>>()?;
        let client = broker.connect(addresses).await?;
        // The client tells of this first connection a moment later; without waiting, that would
        // look like a reconnection to the first request.
        let mut epoch_receiver = epoch_receiver;
        let _ = timeout(TRY_TIMEOUT, epoch_receiver.changed()).await;
        Ok(Self {
            client,
            epoch: epoch_receiver,
            refusal: refusal_receiver,
            connected,
        })
    }

    pub fn epoch(&self) -> u64 {
        *self.epoch.borrow()
    }

    /// Waits until that is another one than `epoch`.
    pub async fn reconnected(&self, epoch: u64) {
        let mut now = self.epoch.clone();
        if now.wait_for(|now| *now != epoch).await.is_err() {
            // The client is gone, and nothing comes back.
            pending::<()>().await;
        }
    }

    /// Whether the client itself has ended, so that no reconnection follows: what tells of events
    /// ends with it.
    pub fn is_gone(&self) -> bool {
        self.epoch.has_changed().is_err()
    }

    /// Waits until the client itself has ended.
    pub async fn gone(&self) {
        let mut epoch = self.epoch.clone();
        while epoch.changed().await.is_ok() {}
    }

    /// Tells when the connection was lost and is back, from now on.
    pub fn reconnections(&self) -> Reconnections {
        let mut epoch = self.epoch.clone();
        epoch.mark_unchanged();
        Reconnections(epoch)
    }

    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// One request that may be sent again if this gives an error that is transient. Given up as
    /// soon as the connection was lost: its answer went with it.
    pub async fn call(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Message, CallError> {
        let mut reconnections = self.reconnections();
        let refusal = self.refusal.clone();
        let mut request = Request::new().payload(payload).timeout(Some(TRY_TIMEOUT));
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        tokio::select! {
            // The client may also hold requests back while it is not connected.
            answer = timeout(TRY_TIMEOUT, self.client.send_request(subject.to_owned(), request)) => {
                match answer {
                    Ok(Ok(message)) => Ok(message),
                    Ok(Err(error)) => Err(match error.kind() {
                        RequestErrorKind::TimedOut => CallError::Timeout,
                        RequestErrorKind::NoResponders => CallError::NoResponders,
                        RequestErrorKind::InvalidSubject
                        | RequestErrorKind::MaxPayloadExceeded
                        | RequestErrorKind::Other => CallError::Client(error.to_string()),
                    }),
                    Err(_) => Err(CallError::Timeout),
                }
            }
            () = reconnections.next() => Err(CallError::Reconnected),
            text = refused(refusal, subject) => Err(CallError::Forbidden(text)),
        }
    }

    /// A request of the JetStream API.
    pub async fn api<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: &Value,
    ) -> Result<T, CallError> {
        let payload = if request.is_null() {
            Bytes::new()
        } else {
            request.to_string().into()
        };
        let answer = self
            .call(&format!("$JS.API.{operation}"), None, payload)
            .await?;
        parse_answer(&answer.payload)
    }

    /// As [`Self::api`], again and again for as long as it may help and `patience` lasts.
    pub async fn api_patiently<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: &Value,
        patience: Duration,
    ) -> Result<T, CallError> {
        patiently(patience, || self.api(operation, request)).await
    }

    /// What a stream says of a durable consumer; nothing where it was never made.
    pub async fn consumer<T: DeserializeOwned>(
        &self,
        stream: &str,
        consumer: &str,
        patience: Duration,
    ) -> Result<Option<T>, CallError> {
        /// "consumer not found"
        const NOT_FOUND: u16 = 10014;
        let operation = format!("CONSUMER.INFO.{stream}.{consumer}");
        match self.api_patiently(&operation, &Value::Null, patience).await {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.api_code() == Some(NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until the broker has all that was sent, or for as long as that makes sense.
    pub async fn flush(&self) -> Result<(), CallError> {
        match timeout(TRY_TIMEOUT, self.client.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(CallError::Client(error.to_string())),
            Err(_) => Err(CallError::Timeout),
        }
    }

    pub async fn close(&self) {
        let _ = self.flush().await;
        if let Err(error) = self.client.drain().await {
            tracing::debug!(%error, "the connection was closed before it was drained");
        }
    }

    pub async fn inbox(&self) -> Result<(String, Subscriber), CallError> {
        let inbox = self.client.new_inbox();
        match self.client.subscribe(inbox.clone()).await {
            Ok(subscriber) => Ok((inbox, subscriber)),
            Err(error) => Err(CallError::Client(error.to_string())),
        }
    }

    /// Publishes what no answer is expected to.
    pub async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), CallError> {
        let sent = self.client.publish_with_headers(subject, headers, payload);
        sent.await
            .map_err(|error| CallError::Client(error.to_string()))
    }

    pub async fn send(
        &self,
        subject: String,
        reply: Option<String>,
        payload: Bytes,
    ) -> Result<(), CallError> {
        let sent = match reply {
            Some(reply) => {
                self.client
                    .publish_with_reply(subject, reply, payload)
                    .await
            }
            None => self.client.publish(subject, payload).await,
        };
        sent.map_err(|error| CallError::Client(error.to_string()))
    }
}

/// Tries until it works, until trying again is of no use, or until `patience` is at its end.
pub(super) async fn patiently<T, F: Future<Output = Result<T, CallError>>>(
    patience: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T, CallError> {
    let mut last = CallError::Timeout;
    let trying = async {
        let mut pause = Pause::default();
        loop {
            match attempt().await {
                Err(error) if error.is_transient() => last = error,
                done => return done,
            }
            pause.wait().await;
        }
    };
    match timeout(patience, trying).await {
        Ok(done) => done,
        Err(_) => Err(last),
    }
}

/// Growing pauses between tries.
#[derive(Default)]
pub(super) struct Pause(u32);

impl Pause {
    pub async fn wait(&mut self) {
        self.0 = (self.0 + 1).min(6);
        tokio::time::sleep(Duration::from_millis(5 << self.0)).await;
    }
}

pub(super) struct Reconnections(watch::Receiver<u64>);

impl Reconnections {
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The client is gone, and with it whatever could come back.
            pending::<()>().await;
        }
    }
}

/// Waits until the broker says that this subject may not be published to.
async fn refused(mut refusal: watch::Receiver<String>, subject: &str) -> String {
    let forbidden = format!("Publish to \"{subject}\"");
    refusal.mark_unchanged();
    while refusal.changed().await.is_ok() {
        let text = refusal.borrow_and_update().clone();
        if text.contains(&forbidden) {
            return text;
        }
    }
    pending().await
}

fn observe(
    event: Event,
    epoch: &watch::Sender<u64>,
    refusal: &watch::Sender<String>,
    connected: &AtomicBool,
) {
    match event {
        Event::Connected => {
            connected.store(true, Ordering::Relaxed);
            epoch.send_modify(|epoch| *epoch += 1);
            tracing::info!("connected to the broker");
        }
        Event::Disconnected => {
            connected.store(false, Ordering::Relaxed);
            tracing::warn!("the connection to the broker is lost; trying to reach it again");
        }
        Event::Closed => connected.store(false, Ordering::Relaxed),
        Event::ServerError(ServerError::Other(text)) => {
            tracing::warn!(error = text, "the broker objects");
            refusal.send_replace(text);
        }
        Event::ServerError(error) => tracing::warn!(%error, "the broker objects"),
        Event::SlowConsumer(subscription) => {
            tracing::warn!(
                subscription,
                "messages were dropped: they came faster than read"
            );
        }
        Event::ClientError(error) => tracing::debug!(%error, "the client of the broker says"),
        Event::LameDuckMode | Event::Draining => {}
    }
}

pub(super) fn parse_answer<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CallError> {
    #[derive(Deserialize)]
    struct Failure {
        error: Option<ApiError>,
    }
    let understood = |error: serde_json::Error| CallError::Answer(error.to_string());
    // Nearly every append is answered, and none of those answers is read twice.
    let text = std::str::from_utf8(bytes).map_err(|error| CallError::Answer(error.to_string()))?;
    if text.contains("\"error\"") {
        let failure: Failure = serde_json::from_str(text).map_err(understood)?;
        if let Some(error) = failure.error {
            return Err(CallError::Api(error));
        }
    }
    serde_json::from_str(text).map_err(understood)
}

/// Those of every event and its guard: names that need no check.
const KNOWN_HEADERS: [&str; 10] = [
    "Nats-Expected-Last-Subject-Sequence",
    "Nats-Expected-Last-Subject-Sequence-Subject",
    "ce-causationid",
    "ce-datacontenttype",
    "ce-id",
    "ce-prevhash",
    "ce-source",
    "ce-specversion",
    "ce-time",
    "ce-type",
];

/// Headers as the client wants them; nothing if one cannot be sent.
pub(super) fn header_map<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<HeaderMap> {
    pairs
        .into_iter()
        .map(|(name, value)| {
            let known = KNOWN_HEADERS.iter().find(|known| **known == name);
            let name = match known {
                Some(known) => HeaderName::from_static(known),
                None => name.parse().ok()?,
            };
            let value: HeaderValue = value.parse().ok()?;
            Some((name, value))
        })
        .collect()
}

/// Headers as pairs, without the broker's own.
pub(super) fn header_pairs(headers: Option<&HeaderMap>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = headers
        .into_iter()
        .flat_map(HeaderMap::iter)
        .filter(|(name, _)| !is_broker_header(name.as_ref()))
        .flat_map(|(name, values)| {
            let pair = |value: &HeaderValue| (name.to_string(), value.to_string());
            values.iter().map(pair).collect::<Vec<_>>()
        })
        .collect();
    pairs.sort();
    pairs
}

pub(super) fn is_broker_header(name: &str) -> bool {
    name.get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("nats-"))
}

pub(super) fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    Some(message.headers.as_ref()?.get(name)?.as_str())
}

pub(super) fn status(message: &Message) -> Option<u16> {
    message.status.map(|status| status.as_u16())
}

pub(super) fn nanoseconds(duration: Duration) -> Value {
    json!(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// What the subject for an answer says of a message that a consumer delivers:
/// `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<stream sequence>.<consumer
/// sequence>.<nanoseconds since 1970>.<pending>…`.
pub(super) struct Delivered {
    /// How often it was delivered.
    pub times: u64,
    /// The sequence in the stream.
    pub sequence: u64,
    /// The one in the consumer.
    pub consumed: u64,
    pub stored_at: Timestamp,
    /// How many the consumer had yet to send then.
    pub pending: u64,
}

impl Delivered {
    pub fn of(message: &Message) -> Option<Self> {
        const NANOSECONDS_PER_MS: i64 = 1_000_000;
        let reply = message.reply.as_ref()?.strip_prefix("$JS.ACK.")?;
        let with_domain = reply.split('.').count() >= 9;
        let skipped = if with_domain { 4 } else { 2 };
        let mut tokens = reply.split('.').skip(skipped);
        let mut number = || tokens.next()?.parse().ok();
        let (times, sequence, consumed) = (number()?, number()?, number()?);
        let nanoseconds = i64::try_from(number()?).ok()?;
        Some(Self {
            times,
            sequence,
            consumed,
            stored_at: Timestamp::from_millis(nanoseconds.div_euclid(NANOSECONDS_PER_MS)),
            pending: number()?,
        })
    }
}
