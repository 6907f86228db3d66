//! Each request as it is seen from outside, over HTTP and over NATS: counted, timed, and told as a
//! span where it is part of a trace; and each refusal says which request it refuses.
//!
//! INVARIANT: a request that was not let in leaves a count and nothing else, whatever it says of
//! itself. Anyone can send those, and they would fill the queue to the collector, where others' are.

use std::sync::Arc;

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::Extensions,
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use contracts::{
    ids::ExecutionId,
    registry::{FeedName, RESOURCES, cloud_events},
};
use tokio::time::Instant;

use super::{
    door::{LetIn, is_vouched},
    operation,
    refusal::Refusing,
    traceparent,
};
use crate::{
    engine::Host,
    metrics::requests::{Asked, Interface, TurnedAway},
    trace::{
        span::{Context, Kind, Span, SpanId},
        told,
    },
};

/// The path of operations by name.
const NAMED: &str = "/v1/{operation}";

/// The same routes, seen.
pub fn seen(routes: Router, host: &Arc<Host>) -> Router {
    routes.layer(from_fn_with_state(Arc::clone(host), see))
}

/// What an answer was about, for its span: an extension of the response.
#[derive(Debug, Clone, Copy)]
pub struct About {
    pub execution: ExecutionId,
    /// The trace that the request has begun, with the span that is its root.
    pub began: Option<Context>,
}

/// The request's own span, in its caller's trace: an extension of the request.
#[derive(Clone, Copy)]
struct Own(Context);

/// The `traceparent` of what a request leads to: its own span's, else its caller's.
pub fn passed_on(extensions: &Extensions, headers: &axum::http::HeaderMap) -> Option<String> {
    match extensions.get::<Own>() {
        Some(Own(context)) => Some(context.to_string()),
        None => traceparent(headers).map(str::to_owned),
    }
}

async fn see(State(host): State<Arc<Host>>, mut request: Request, next: Next) -> Response {
    let (began_at, began) = (host.now(), Instant::now());
    let asked = asked(&request);
    let interface = if is_vouched(request.extensions()) {
        Interface::Nats
    } else {
        Interface::Http
    };
    let caller = caller(&host, &request);
    let own = caller.map(|caller| {
        let id = SpanId::of_random(host.ambient.random_bytes());
        caller.with(id)
    });
    if let Some(own) = own {
        request.extensions_mut().insert(Own(own));
    }
    let let_in = LetIn::default();
    request.extensions_mut().insert(let_in.clone());
    let requests = &host.metrics.requests;
    let in_flight = requests.came(interface);
    let refusing = Refusing::of(&request);
    let response = refusing.told(next.run(request).await);
    drop(in_flight);
    if !let_in.is() {
        // What is published is for anyone, and is no refusal.
        match TurnedAway::of(response.status()) {
            Some(why) => requests.turned_away(interface, why),
            None => requests.answered(Asked::Other, interface, response.status(), began.elapsed()),
        }
        return response;
    }
    requests.answered(asked, interface, response.status(), began.elapsed());
    let about = response.extensions().get::<About>();
    let context = own.or_else(|| about?.began);
    if let (Some(tracer), Some(context)) = (&host.tracer, context.filter(|it| it.is_sampled)) {
        let status = response.status();
        let mut attributes = vec![(
            "http.response.status_code",
            u32::from(status.as_u16()).into(),
        )];
        if let Some(about) = about {
            attributes.push((told::EXECUTION, about.execution.to_string().into()));
        }
        tracer.tell(Span {
            context,
            parent: caller.map(|caller| caller.span),
            name: asked.as_str().into(),
            kind: Kind::Server,
            began: began_at,
            ended: host.now().max(began_at),
            attributes,
            error: status.is_server_error().then(|| status.to_string()),
        });
    }
    response
}

/// The span that asks, where spans are told and whoever began its trace wants that.
fn caller(host: &Host, request: &Request) -> Option<Context> {
    host.tracer.as_ref()?;
    let caller = Context::parse(traceparent(request.headers())?)?;
    caller.is_sampled.then_some(caller)
}

fn asked(request: &Request) -> Asked {
    let Some(matched) = request.extensions().get::<MatchedPath>() else {
        return Asked::Other;
    };
    match matched.as_str() {
        NAMED => {
            operation(request.method(), request.uri().path()).map_or(Asked::Other, Asked::Operation)
        }
        // However it is wrapped, it is this that is asked.
        cloud_events::PATH => Asked::Operation(cloud_events::OPERATION),
        path => {
            let feed = || {
                FeedName::ALL
                    .into_iter()
                    .find(|feed| feed.entry().path == path)
            };
            let resource = RESOURCES.iter().find(|resource| resource.path == path);
            resource
                .map(|resource| Asked::Operation(resource.operation))
                .or_else(|| feed().map(Asked::Feed))
                .unwrap_or(Asked::Other)
        }
    }
}
