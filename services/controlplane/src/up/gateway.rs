//! One address for commands and queries: each request goes to the service that answers it, as it
//! is, and its answer comes back as it comes, live feeds too. Nothing is decided here, nobody is
//! let in or kept out, and what is no path of the API is not passed on.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
        header::{
            CONNECTION, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
            TRANSFER_ENCODING, UPGRADE,
        },
        uri::{Authority, PathAndQuery, Scheme},
    },
    response::{IntoResponse as _, Response},
    routing::get,
};
use contracts::{
    problem::{Code, Problem},
    registry::{Kind, routing},
};
use host::http::{
    Refused, fallback,
    refusal::Refusing,
    server::{self, Bounds},
    tls::Tls,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;

/// Each has a second connection behind it, and a process may usually open 1,024 files.
const CONNECTIONS_MAX: usize = 440;

/// To the beginning of an answer; the longest command says after 10 s that it is pending.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// For both services to say whether they are ready.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// What is said about one connection and not about the request.
static HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Where the services listen.
#[derive(Debug, Clone, Copy)]
pub struct Behind {
    pub intake: SocketAddr,
    pub projector: SocketAddr,
}

#[derive(Clone)]
struct Gateway {
    behind: Behind,
    client: Client<HttpConnector, Body>,
}

/// Until `stop`, and then for as long as what is under way may take.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    behind: Behind,
    stop: CancellationToken,
) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    // A connection for each request: a service ends the one on which it refused a request without
    // reading all of it, and whoever is sent there next would not know whether it was carried out.
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(connector);
    let gateway = Gateway { behind, client };
    let routes = Router::new()
        .route(
            "/healthz",
            get(|| async { Json(json!({ "status": "alive" })) }),
        )
        .route("/readyz", get(ready))
        .fallback(forward)
        .with_state(gateway);
    let bounds = Bounds {
        connections_max: CONNECTIONS_MAX,
        ..Bounds::default()
    };
    server::serve(listener, tls, routes, stop, bounds).await;
}

async fn forward(State(gateway): State<Gateway>, request: Request) -> Response {
    let refusing = Refusing::of(&request);
    let path = request.uri().path();
    let address = match routing::served_by(request.method().as_str(), path) {
        Some(Kind::Command) => gateway.behind.intake,
        Some(Kind::Query) => gateway.behind.projector,
        None => {
            let (method, uri) = (request.method().clone(), request.uri().clone());
            return refusing.told(fallback(method, uri).await.into_response());
        }
    };
    match gateway.pass(request, address).await {
        Ok(response) => response,
        Err(problem) => refusing.told(Refused::from(problem).into_response()),
    }
}

impl Gateway {
    async fn pass(&self, mut request: Request, to: SocketAddr) -> Result<Response, Problem> {
        let unavailable = |why: &str| {
            let advice = Code::ServiceUnavailable.advice();
            Problem::new(Code::ServiceUnavailable, format!("{why}: {advice}"))
        };
        *request.uri_mut() = at(to, request.uri().path_and_query())
            .ok_or_else(|| unavailable("it cannot be addressed"))?;
        clear(request.headers_mut());
        request.headers_mut().remove(HOST);
        let answer = timeout(ANSWER_WITHIN, self.client.request(request));
        let response = answer
            .await
            .map_err(|_| unavailable("it did not answer in time"))?
            .map_err(|_| unavailable("it cannot be reached, or broke off"))?;
        let mut response = response.map(Body::new);
        clear(response.headers_mut());
        Ok(response)
    }

    /// What one service says about whether it is ready, if that is not yes.
    async fn unready(&self, service: SocketAddr) -> Option<Value> {
        let path = PathAndQuery::from_static("/readyz");
        let request = Request::get(at(service, Some(&path))?).body(Body::empty());
        let answered = timeout(READY_WITHIN, self.client.request(request.ok()?)).await;
        match answered {
            Ok(Ok(response)) if response.status().is_success() => None,
            Ok(Ok(_)) => Some("it says that it is not ready".into()),
            Ok(Err(_)) => Some("it cannot be reached".into()),
            Err(_) => Some("it does not answer".into()),
        }
    }
}

/// Ready is who can have everything answered.
async fn ready(State(gateway): State<Gateway>) -> (StatusCode, Json<Value>) {
    let Behind { intake, projector } = gateway.behind;
    let (intake, projector) = tokio::join!(gateway.unready(intake), gateway.unready(projector));
    let reasons: Map<String, Value> = [("intake", intake), ("projector", projector)]
        .into_iter()
        .filter_map(|(service, reason)| Some((service.to_owned(), reason?)))
        .collect();
    if reasons.is_empty() {
        (StatusCode::OK, Json(json!({ "status": "ready" })))
    } else {
        let body = json!({ "status": "not_ready", "reasons": reasons });
        (StatusCode::SERVICE_UNAVAILABLE, Json(body))
    }
}

fn at(address: SocketAddr, path: Option<&PathAndQuery>) -> Option<Uri> {
    let authority: Authority = address.to_string().parse().ok()?;
    let path = path.cloned();
    Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority)
        .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
        .build()
        .ok()
}

/// Takes out what is said of one connection, also what `Connection` itself names.
fn clear(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| HeaderValue::to_str(value).ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}
