//! The operations over NATS: request and reply on `cp.api.<workspace>.<principal>.<operation>`,
//! found and counted as NATS micro-services are.
//!
//! INVARIANT: the broker lets a user publish below its own `cp.api.<workspace>.<principal>.` and
//! nowhere else, so the subject says who asks. A broker that asks nobody for a password says
//! nothing, and there these endpoints are not served.
//!
//! A request goes through the same routes as one over HTTP, so that both have one handler, the same
//! limits, and the same answers. The answer's HTTP status is in the header `Cp-Status`; a refusal is
//! the same problem document, with `Nats-Service-Error` and `Nats-Service-Error-Code` beside it.
//!
//! * [`discovery`]: what `nats micro ls` and `nats micro stats` ask for

mod discovery;

use std::{mem, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header},
};
use contracts::{
    ids::{PrincipalId, WorkspaceId},
    problem::{Code, MEDIA_TYPE, Problem},
    registry::{Kind, OperationName},
    subject::{API_ROOT, decode_token},
};
use futures::future::join_all;
use journal::{
    Journal, Unavailable,
    jetstream::{ConnectOptions, JetStreamJournal},
    permissions::ACROSS_ACCOUNTS,
    request::{Incoming, MESSAGE_BYTES_MAX, Reply, Requests},
};
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep, timeout},
};
use tower::ServiceExt as _;

use self::discovery::{Endpoint, Statistics};
use crate::{
    engine::{Host, chain},
    http::{
        PREFIX,
        door::{Door, Vouched},
        refusal::Refusing,
    },
    metrics::requests::{Interface, TurnedAway},
};

/// The HTTP status of an answer.
pub const STATUS: &str = "Cp-Status";

const ERROR: &str = "Nats-Service-Error";
const ERROR_CODE: &str = "Nats-Service-Error-Code";

/// How soon a connection that has ended is made anew.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long requests may take that are under way when the service stops, as over HTTP.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// Of an answer's headers: ample for the few that there are.
const HEADERS_BYTES_MAX: usize = 8 * 1024;

/// Headers of a request that mean something; there is no credential among them.
static HEADERS_READ: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("traceparent"),
];

/// Headers of an answer over HTTP that mean something here.
const HEADERS_KEPT: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
];

/// Serves the commands or the queries until shutdown, if that is asked for.
///
/// On a connection of its own: what a caller sends that breaks a client does not take the log from
/// this process, and the connection is made anew.
pub async fn run(
    options: Option<ConnectOptions>,
    host: Arc<Host>,
    door: Arc<Door>,
    routes: Router,
    kind: Kind,
) -> anyhow::Result<()> {
    let Some(options) = options else {
        host.shutdown.cancelled().await;
        return Ok(());
    };
    loop {
        match serve(&options, &host, &door, &routes, kind).await {
            Ok(()) if host.shutdown.is_cancelled() => return Ok(()),
            Ok(()) => tracing::error!("the connection for operations over NATS has ended"),
            Err(error) => tracing::error!("operations are not served over NATS: {error:#}"),
        }
        tokio::select! {
            () = host.shutdown.cancelled() => return Ok(()),
            () = sleep(AGAIN_AFTER) => {}
        }
    }
}

async fn serve(
    options: &ConnectOptions,
    host: &Arc<Host>,
    door: &Arc<Door>,
    routes: &Router,
    kind: Kind,
) -> anyhow::Result<()> {
    let journal = JetStreamJournal::connect(options).await?;
    anyhow::ensure!(
        journal.has_users(),
        "this broker asks nobody for a password, so a subject does not say who asks"
    );
    let journal: Arc<dyn Journal> = Arc::new(journal);
    let serving = open(
        Arc::clone(host),
        Arc::clone(&journal),
        Arc::clone(door),
        routes.clone(),
        kind,
    );
    serving.await?.await;
    journal.close().await;
    Ok(())
}

/// Subscribes to the commands or the queries; what it gives serves them until shutdown. `routes`
/// has them at `POST /v1/<operation>`.
pub async fn open(
    host: Arc<Host>,
    journal: Arc<dyn Journal>,
    door: Arc<Door>,
    routes: Router,
    kind: Kind,
) -> Result<impl Future<Output = ()> + use<>, Unavailable> {
    let queue = host.service.as_str();
    let endpoints: Vec<Endpoint> = OperationName::ALL
        .into_iter()
        .filter(|operation| operation.entry().kind == kind)
        .map(|operation| Endpoint::of(operation, API_ROOT, queue))
        .collect();
    let statistics = Arc::new(Statistics::new(&host, endpoints));
    let api = Arc::new(Api {
        host: Arc::clone(&host),
        door,
        routes,
        statistics: Arc::clone(&statistics),
    });
    let mut serving = Vec::new();
    for (number, endpoint) in statistics.endpoints().iter().enumerate() {
        let requests = journal.serve(&endpoint.subject, queue).await?;
        serving.push(Arc::clone(&api).answer_all(number, requests));
    }
    let answering = discovery::answer_all(&host, journal.as_ref(), &statistics).await?;
    tracing::info!(endpoints = serving.len(), "serves operations over NATS");
    Ok(async move {
        tokio::select! {
            _ = join_all(serving) => {}
            () = answering => {}
        }
    })
}

struct Api {
    host: Arc<Host>,
    door: Arc<Door>,
    routes: Router,
    statistics: Arc<Statistics>,
}

impl Api {
    /// Until shutdown, or until the connection is closed. What is asked at once is bounded by the
    /// door.
    async fn answer_all(self: Arc<Self>, endpoint: usize, mut requests: Box<dyn Requests>) {
        let mut answering = JoinSet::new();
        loop {
            let request = tokio::select! {
                biased;
                () = self.host.shutdown.cancelled() => break,
                Some(_) = answering.join_next() => continue,
                request = requests.next() => request,
            };
            let Some(request) = request else { break };
            let api = Arc::clone(&self);
            answering.spawn(async move { api.answer(endpoint, request).await });
        }
        // What has come is answered too: nobody else was given it.
        requests.drain().await;
        let ended = async {
            while let Some(request) = requests.next().await {
                let api = Arc::clone(&self);
                answering.spawn(async move { api.answer(endpoint, request).await });
            }
            while answering.join_next().await.is_some() {}
        };
        if timeout(DRAIN_WITHIN, ended).await.is_err() {
            tracing::info!("requests are given up that have not ended in time");
        }
    }

    async fn answer(&self, endpoint: usize, mut request: Incoming) {
        let began = Instant::now();
        // INVARIANT: who asks has an account of its own, for which the broker vouches: the answer
        // goes across to it. Within the account of the services the broker's own answers can be sent
        // to anybody, as requests too, and ours be stored.
        let to = request.reply.as_deref().unwrap_or_default();
        if !to.starts_with(ACROSS_ACCOUNTS) {
            tracing::warn!(
                subject = request.subject,
                reply = to,
                "not carried out: asked within the account of the services, or without a reply"
            );
            return;
        }
        let answer = match self.asked(&mut request) {
            Ok(asked) => {
                let refusing = Refusing::of(&asked);
                match self.routes.clone().oneshot(asked).await {
                    Ok(response) => reply(response, &refusing).await,
                    Err(never) => match never {},
                }
            }
            Err(problem) => {
                let status = StatusCode::from_u16(problem.status).unwrap_or_default();
                let why = TurnedAway::of(status).unwrap_or(TurnedAway::Other);
                let requests = &self.host.metrics.requests;
                requests.turned_away(Interface::Nats, why);
                refusal(&problem)
            }
        };
        let error = answer.header(ERROR).map(str::to_owned);
        self.statistics.count(endpoint, began.elapsed(), error);
        if let Err(error) = request.respond(answer).await {
            tracing::debug!(reason = chain(&error), "an answer was not sent");
        }
    }

    /// The request as it would have come over HTTP, from whom the subject names.
    fn asked(&self, request: &mut Incoming) -> Result<Request<Body>, Problem> {
        let nothing = || Problem::new(Code::NotFound, "the subject names no operation");
        let (workspace, principal, operation) = parts(&request.subject).ok_or_else(nothing)?;
        let mut asked = Request::post(format!("{PREFIX}{operation}"))
            .body(Body::empty())
            .map_err(|_| nothing())?;
        let read = headers(request);
        *asked.headers_mut() = read.map_err(|problem| Refusing::of(&asked).complete(problem))?;
        *asked.body_mut() = Body::from(mem::take(&mut request.payload));
        let vouched = self.door.named(&workspace, &principal).ok_or_else(|| {
            let detail = format!(
                "`{principal}` of workspace `{workspace}` has no credential that is valid: ask \
                 who administers them"
            );
            Refusing::of(&asked).complete(Problem::new(Code::Unauthenticated, detail))
        })?;
        asked.extensions_mut().insert(Vouched(vouched));
        Ok(asked)
    }
}

/// Workspace, principal and operation of a subject.
fn parts(subject: &str) -> Option<(WorkspaceId, PrincipalId, &str)> {
    let rest = subject.strip_prefix(API_ROOT)?.strip_prefix('.')?;
    let (workspace, rest) = rest.split_once('.')?;
    let (principal, operation) = rest.split_once('.')?;
    let principal = decode_token(principal)?;
    Some((workspace.parse().ok()?, principal.parse().ok()?, operation))
}

/// What is said beside the input, and is read. A client that says nothing of its payload sends
/// JSON.
fn headers(request: &mut Incoming) -> Result<HeaderMap, Problem> {
    let refused = |why: &str| Problem::new(Code::InvalidInput, why);
    if request.too_many_headers {
        return Err(refused("a request has at most 64 headers"));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in mem::take(&mut request.headers) {
        let kept = HEADERS_READ
            .iter()
            .find(|kept| name.eq_ignore_ascii_case(kept.as_str()));
        let Some(kept) = kept else { continue };
        let value = HeaderValue::try_from(value)
            .map_err(|_| refused("a header holds what HTTP does not allow"))?;
        headers.append(kept.clone(), value);
    }
    headers.insert(header::CONTENT_LENGTH, request.payload.len().into());
    headers
        .entry(header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    Ok(headers)
}

async fn reply(response: Response<Body>, refusing: &Refusing) -> Reply {
    let (parts, body) = response.into_parts();
    let room = MESSAGE_BYTES_MAX - HEADERS_BYTES_MAX;
    let Ok(payload) = to_bytes(body, room).await else {
        return refusal(&refusing.complete(Problem::of(Code::AnswerTooLarge)));
    };
    let mut headers = vec![(STATUS.to_owned(), parts.status.as_u16().to_string())];
    for name in HEADERS_KEPT {
        let value = parts.headers.get(&name).and_then(|it| it.to_str().ok());
        headers.extend(value.map(|value| (name.to_string(), value.to_owned())));
    }
    if !parts.status.is_success() {
        let problem = serde_json::from_slice::<Problem>(&payload).ok();
        let text = problem.map_or_else(|| "refused".to_owned(), |it| said(&it));
        headers.push((ERROR.to_owned(), text));
        headers.push((ERROR_CODE.to_owned(), parts.status.as_u16().to_string()));
    }
    Reply { headers, payload }
}

fn refusal(problem: &Problem) -> Reply {
    let status = problem.status.to_string();
    let headers = [
        (STATUS, status.clone()),
        (header::CONTENT_TYPE.as_str(), MEDIA_TYPE.to_owned()),
        (ERROR, said(problem)),
        (ERROR_CODE, status),
    ];
    Reply {
        headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
        payload: serde_json::to_vec(problem).unwrap_or_default().into(),
    }
}

/// One line for clients that show nothing else.
fn said(problem: &Problem) -> String {
    format!("{}: {}", problem.code, problem.title)
}
