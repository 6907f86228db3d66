//! Discovery and statistics of NATS micro-services: `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, of
//! all services, of one by its name, and of one instance by its id.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use contracts::{registry::OperationName, time::Timestamp};
use journal::{
    Journal, Unavailable,
    request::{Incoming, Reply},
};
use serde::Serialize;

use crate::engine::{Host, chain};

/// Every instance hears all of them.
const SUBJECTS: &str = "$SRV.>";

/// An endpoint as it is announced.
#[derive(Debug, Clone, Serialize)]
pub struct Endpoint {
    name: String,
    pub subject: String,
    queue_group: String,
    metadata: BTreeMap<&'static str, String>,
}

impl Endpoint {
    pub fn of(operation: OperationName, below: &str, queue: &str) -> Self {
        let entry = operation.entry();
        let name = operation.short();
        Self {
            // Names have no dots.
            name: name.replace('.', "-"),
            subject: format!("{below}.*.*.{name}"),
            queue_group: queue.to_owned(),
            metadata: BTreeMap::from([
                ("grant", entry.grant.to_string()),
                ("kind", entry.kind.as_str().to_owned()),
                ("operation", entry.key.to_owned()),
                ("version", entry.version.to_owned()),
            ]),
        }
    }
}

/// What every answer says of this instance.
#[derive(Debug, Clone, Serialize)]
struct Identity {
    name: String,
    id: String,
    version: &'static str,
    metadata: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    identity: &'a Identity,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Rest<'a> {
    Ping {},
    Info {
        description: &'static str,
        endpoints: &'a [Endpoint],
    },
    Stats {
        started: Timestamp,
        endpoints: Vec<Counted<'a>>,
    },
}

/// How often an endpoint was asked; times are in nanoseconds.
#[derive(Serialize)]
struct Counted<'a> {
    name: &'a str,
    subject: &'a str,
    queue_group: &'a str,
    num_requests: u64,
    num_errors: u64,
    last_error: &'a str,
    processing_time: u64,
    average_processing_time: u64,
}

#[derive(Debug, Clone, Default)]
struct Count {
    requests: u64,
    errors: u64,
    last_error: String,
    took: Duration,
}

/// One instance's endpoints, and what was asked of them.
pub struct Statistics {
    identity: Identity,
    endpoints: Vec<Endpoint>,
    started: Timestamp,
    counts: Mutex<Vec<Count>>,
}

impl Statistics {
    pub fn new(host: &Host, endpoints: Vec<Endpoint>) -> Self {
        Self {
            identity: Identity {
                name: format!("control-plane-{}", host.service),
                id: host.incarnation.to_string(),
                version: env!("CARGO_PKG_VERSION"),
                metadata: BTreeMap::new(),
            },
            counts: Mutex::new(vec![Count::default(); endpoints.len()]),
            endpoints,
            started: host.now(),
        }
    }

    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    pub fn count(&self, endpoint: usize, took: Duration, error: Option<String>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = counts.get_mut(endpoint) else {
            return;
        };
        count.requests += 1;
        count.took += took;
        if let Some(error) = error {
            count.errors += 1;
            count.last_error = error;
        }
    }

    /// The answer to a question on this subject; nothing where another is asked.
    fn answer(&self, subject: &str) -> Option<Vec<u8>> {
        let mut tokens = subject.split('.').skip(1);
        let verb = tokens.next()?;
        let is_asked = tokens.next().is_none_or(|name| name == self.identity.name)
            && tokens.next().is_none_or(|id| id == self.identity.id)
            && tokens.next().is_none();
        if !is_asked {
            return None;
        }
        let counts;
        let (kind, rest) = match verb {
            "PING" => ("io.nats.micro.v1.ping_response", Rest::Ping {}),
            "INFO" => (
                "io.nats.micro.v1.info_response",
                Rest::Info {
                    description: "Operations of the control plane",
                    endpoints: &self.endpoints,
                },
            ),
            "STATS" => {
                counts = self
                    .counts
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                (
                    "io.nats.micro.v1.stats_response",
                    Rest::Stats {
                        started: self.started,
                        endpoints: self.endpoints.iter().zip(&counts).map(counted).collect(),
                    },
                )
            }
            _ => return None,
        };
        serde_json::to_vec(&Answer {
            kind,
            identity: &self.identity,
            rest,
        })
        .ok()
    }
}

fn counted<'a>((endpoint, count): (&'a Endpoint, &'a Count)) -> Counted<'a> {
    let took = u64::try_from(count.took.as_nanos()).unwrap_or(u64::MAX);
    Counted {
        name: &endpoint.name,
        subject: &endpoint.subject,
        queue_group: &endpoint.queue_group,
        num_requests: count.requests,
        num_errors: count.errors,
        last_error: &count.last_error,
        processing_time: took,
        average_processing_time: took.checked_div(count.requests).unwrap_or(0),
    }
}

/// Answers what is asked of this instance, until the connection is closed.
pub async fn answer_all(
    host: &Host,
    journal: &dyn Journal,
    statistics: &Arc<Statistics>,
) -> Result<impl Future<Output = ()> + use<>, Unavailable> {
    // A queue of its own, so that each instance is asked.
    let queue = format!("{}-{}", host.service, host.incarnation);
    let mut questions = journal.serve(SUBJECTS, &queue).await?;
    let statistics = Arc::clone(statistics);
    Ok(async move {
        while let Some(question) = questions.next().await {
            answer(&statistics, question).await;
        }
    })
}

async fn answer(statistics: &Statistics, question: Incoming) {
    let Some(payload) = statistics.answer(&question.subject) else {
        return;
    };
    let answer = Reply {
        headers: Vec::new(),
        payload: payload.into(),
    };
    if let Err(error) = question.respond(answer).await {
        tracing::debug!(reason = chain(&error), "an answer was not sent");
    }
}
