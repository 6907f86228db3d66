//! Spans on their way to a collector, by OTLP over HTTP.
//!
//! Whoever has a span to tell puts it into a bounded queue and never waits. One task sends what is
//! in it. A collector that is slow, away or wrong costs spans, which are counted, and one line of
//! log a minute; it costs the work nothing.

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use reqwest::{
    Client, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    otlp::{self, Resource},
    span::Span,
};
use crate::{
    config::traces::Traces,
    metrics::{
        Metrics,
        spans::{Lost, Spans},
    },
};

/// Spans that wait to be sent: some seconds of a busy process, and a few megabytes.
const QUEUE: usize = 4096;

/// Spans of one request.
const BATCH: usize = 512;

/// How long a span waits for others to be sent with it.
const LINGER: Duration = Duration::from_secs(1);

/// How often a batch is sent, with pauses between, before it is given up.
const TRIES: u32 = 3;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often a loss is told.
const SAY_EVERY: Duration = Duration::from_mins(1);

/// How long a service that stops may take to send what is left.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Takes spans. Clones are the same queue.
#[derive(Clone)]
pub struct Tracer {
    queue: mpsc::Sender<Span>,
    metrics: Arc<Metrics>,
}

impl Tracer {
    /// Never waits: what finds no room is lost, and counted.
    pub fn tell(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.metrics.spans.dropped(Lost::QueueFull, 1);
        }
    }
}

/// The task that sends.
pub struct Exporter {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("a header for the collector cannot be sent")]
    Header,
    #[error("cannot set up HTTP for the collector")]
    Http(#[source] reqwest::Error),
}

/// Begins to send spans to where the configuration says.
pub fn start(
    to: &Traces,
    resource: Resource,
    metrics: &Arc<Metrics>,
) -> Result<(Tracer, Exporter), StartError> {
    let (queue, spans) = mpsc::channel(QUEUE);
    let sender = Sender {
        http: client(to)?,
        url: to.endpoint.clone(),
        resource,
        counts: metrics.spans.clone(),
        complaint: Complaint::default(),
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(sender.run(spans, stop.clone()));
    let tracer = Tracer {
        queue,
        metrics: Arc::clone(metrics),
    };
    Ok((tracer, Exporter { stop, task }))
}

impl Exporter {
    /// Sends what is left, for no longer than a stop may take.
    pub async fn finish(mut self) {
        self.stop.cancel();
        if timeout(FINISH_WITHIN, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::info!("spans are given up that the collector has not taken in time");
        }
    }
}

fn client(to: &Traces) -> Result<Client, StartError> {
    // A second provider in one process keeps the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut headers = HeaderMap::new();
    for (name, value) in &to.headers {
        let name = HeaderName::try_from(name).map_err(|_| StartError::Header)?;
        let mut value = HeaderValue::try_from(value.reveal()).map_err(|_| StartError::Header)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-protobuf"),
    );
    let builder = Client::builder()
        .default_headers(headers)
        .connect_timeout(CONNECT_WITHIN)
        .timeout(to.timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    let builder = if to.endpoint.starts_with("https:") {
        builder
    } else {
        // Nothing is encrypted: no certificates are looked for.
        builder.tls_certs_only([])
    };
    builder.build().map_err(StartError::Http)
}

struct Sender {
    http: Client,
    url: String,
    resource: Resource,
    counts: Spans,
    complaint: Complaint,
}

/// Why a batch was not taken.
enum Fault {
    /// It may be taken later.
    Passing(String),
    Lasting(String),
}

impl Sender {
    async fn run(mut self, mut queue: mpsc::Receiver<Span>, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        while !stop.is_cancelled() {
            tokio::select! {
                taken = queue.recv_many(&mut batch, BATCH) => if taken == 0 {
                    return;
                },
                () = stop.cancelled() => break,
            }
            self.gather(&mut queue, &mut batch, &stop).await;
            self.deliver(&mut batch, &stop).await;
        }
        queue.close();
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            self.deliver(&mut batch, &stop).await;
        }
    }

    /// Waits for more, until the batch is full or has waited long enough.
    async fn gather(
        &self,
        queue: &mut mpsc::Receiver<Span>,
        batch: &mut Vec<Span>,
        stop: &CancellationToken,
    ) {
        let mut enough = std::pin::pin!(sleep(LINGER));
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            tokio::select! {
                () = stop.cancelled() => return,
                () = &mut enough => return,
                taken = queue.recv_many(batch, room) => if taken == 0 {
                    return;
                },
            }
        }
    }

    async fn deliver(&mut self, batch: &mut Vec<Span>, stop: &CancellationToken) {
        let spans = batch.len();
        let body = otlp::request(&self.resource, batch).encode_to_vec();
        batch.clear();
        for attempt in 1..=TRIES {
            let fault = match self.send(body.clone()).await {
                Ok(()) => {
                    self.counts.exported(spans);
                    return self.complaint.settle();
                }
                Err(fault) => fault,
            };
            let (why, reason) = match fault {
                Fault::Passing(_) if attempt < TRIES && !stop.is_cancelled() => {
                    tokio::select! {
                        () = sleep(RETRY_AFTER * attempt) => {}
                        () = stop.cancelled() => {}
                    }
                    continue;
                }
                Fault::Passing(reason) => (Lost::Unreachable, reason),
                Fault::Lasting(reason) => (Lost::Refused, reason),
            };
            self.counts.dropped(why, spans);
            return self.complaint.say(spans, &reason);
        }
    }

    async fn send(&self, body: Vec<u8>) -> Result<(), Fault> {
        let sent = self.http.post(&self.url).body(body).send().await;
        // An address may hold a password.
        let answer =
            sent.map_err(|error| Fault::Passing(crate::engine::chain(&error.without_url())))?;
        let status = answer.status();
        let passing = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        let reason = format!("the collector answers {}", status.as_u16());
        if status.is_success() {
            Ok(())
        } else if passing.contains(&status) {
            Err(Fault::Passing(reason))
        } else {
            Err(Fault::Lasting(reason))
        }
    }
}

/// What has not been told of losses.
#[derive(Default)]
struct Complaint {
    said: Option<Instant>,
    untold: usize,
}

impl Complaint {
    /// At most one line a minute, however much is lost.
    fn say(&mut self, spans: usize, reason: &str) {
        self.untold += spans;
        if self.said.is_some_and(|said| said.elapsed() < SAY_EVERY) {
            return;
        }
        tracing::warn!(
            reason,
            spans = self.untold,
            "spans do not reach the collector"
        );
        self.said = Some(Instant::now());
        self.untold = 0;
    }

    fn settle(&mut self) {
        if self.said.is_some_and(|said| said.elapsed() >= SAY_EVERY) {
            tracing::info!(spans_lost = self.untold, "the collector takes spans again");
            *self = Self::default();
        }
    }
}
