//! What those leave behind who were not let in.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{Request, StatusCode, header::AUTHORIZATION},
    routing::{get, post},
};
use contracts::{canonical::Digest, event::Service, facts::ActorType, time::Timestamp};
use host::{
    clock::System,
    config::traces::Traces,
    engine::Host,
    http::{
        Refused,
        door::{Caller, Door, Limits},
        fallback,
        seen::seen,
    },
    principals::{Credential, Document, Principals, token, token_hash},
    trace::{
        export::{self, Exporter},
        otlp::{self, ExportTraceServiceRequest},
    },
};
use journal::{layout::StreamCount, memory::MemoryJournal};
use prost::Message as _;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A service with one operation, whose spans go to a collector.
struct World {
    host: Arc<Host>,
    routes: Router,
    exporter: Exporter,
    collected: mpsc::UnboundedReceiver<Bytes>,
}

fn own_token() -> String {
    token(*Digest::of(b"ann").bytes())
}

fn ann() -> Document {
    let credential = Credential {
        id: "ann".parse().unwrap(),
        kind: ActorType::User,
        workspace: "acme".parse().unwrap(),
        roles: BTreeSet::new(),
        grants: BTreeSet::new(),
        token_hash: token_hash(&own_token()),
        not_after: None,
    };
    Document {
        principals: vec![credential],
    }
}

async fn collector() -> (String, mpsc::UnboundedReceiver<Bytes>) {
    let (sender, collected) = mpsc::unbounded_channel();
    let take = async |State(sender): State<mpsc::UnboundedSender<Bytes>>, body: Bytes| {
        sender.send(body).unwrap();
    };
    let routes = Router::new().route("/", post(take)).with_state(sender);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (format!("http://{address}/"), collected)
}

async fn world() -> World {
    let journal = MemoryJournal::new(StreamCount::ONE, Timestamp::from_millis(0));
    let mut host = Host::new(
        Service::Projector,
        Arc::new(journal),
        Arc::new(System),
        Duration::from_secs(2),
        CancellationToken::new(),
    );
    let (endpoint, collected) = collector().await;
    let to = Traces {
        endpoint,
        headers: Vec::new(),
        timeout: Duration::from_secs(5),
        resource: Vec::new(),
        service_name: None,
    };
    let (tracer, exporter) = export::start(&to, otlp::resource([]), &host.metrics).unwrap();
    host.tracer = Some(tracer);
    let host = Arc::new(host);
    let door = Door::new(
        Principals::of(ann()),
        Limits {
            burst_max: 1,
            per_second_max: 1,
            ..Limits::default()
        },
        Arc::clone(&host.ambient),
    );
    let me = async |State(door): State<Arc<Door>>, caller: Caller| {
        let _admitted = door.admit(&caller).await?;
        Ok::<_, Refused>(StatusCode::OK)
    };
    let routes = Router::new()
        .route("/v1/executions", get(me))
        .fallback(fallback)
        .with_state(door);
    World {
        routes: seen(routes, &host),
        host,
        exporter,
        collected,
    }
}

impl World {
    async fn ask(&self, path: &str, token: Option<&str>) -> StatusCode {
        let mut request = Request::get(path).header("traceparent", TRACE);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Body::empty()).unwrap();
        self.routes.clone().oneshot(request).await.unwrap().status()
    }

    /// The spans that were told, once no more are.
    async fn spans(self) -> usize {
        let Self {
            exporter,
            mut collected,
            ..
        } = self;
        exporter.finish().await;
        let mut spans = 0;
        while let Ok(body) = collected.try_recv() {
            let told = ExportTraceServiceRequest::decode(body).unwrap();
            let scopes = told.resource_spans.iter().flat_map(|it| &it.scope_spans);
            spans += scopes.map(|scope| scope.spans.len()).sum::<usize>();
        }
        spans
    }

    /// What is counted of requests, without what is zero.
    fn counted(&self) -> Vec<String> {
        let journal = Arc::clone(&self.host.journal);
        let text = self.host.metrics.text(&self.host.health, journal.as_ref());
        let mut counted: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with("control_plane_request"))
            .filter(|line| line.contains("_total{") || line.contains("_seconds_count{"))
            .filter(|line| !line.ends_with(" 0"))
            .map(str::to_owned)
            .collect();
        counted.sort();
        counted
    }
}

#[tokio::test]
async fn who_is_not_let_in_leaves_a_count_and_no_span() {
    let world = world().await;
    let own = own_token();
    let refused = [
        ("/v1/executions", None, 401),
        ("/v1/executions", Some("made-up"), 401),
        ("/v1/nothing", Some(own.as_str()), 404),
    ];
    for (path, token, status) in refused {
        assert_eq!(world.ask(path, token).await.as_u16(), status, "{path}");
    }
    assert_eq!(
        world.counted(),
        [
            r#"control_plane_requests_turned_away_total{service="projector",interface="http",reason="not_served"} 1"#,
            r#"control_plane_requests_turned_away_total{service="projector",interface="http",reason="unauthenticated"} 2"#,
        ]
        .map(str::to_owned)
    );
    assert_eq!(world.spans().await, 0);
}

#[tokio::test]
async fn who_is_let_in_is_told_until_it_asks_too_much() {
    let world = world().await;
    let own = own_token();
    assert_eq!(world.ask("/v1/executions", Some(&own)).await, 200);
    assert_eq!(world.ask("/v1/executions", Some(&own)).await, 429);
    let counted = world.counted();
    assert_eq!(counted.len(), 2, "{counted:?}");
    let limited =
        r#"requests_turned_away_total{service="projector",interface="http",reason="limited"} 1"#;
    let answered = r#"operation="controlPlane.execution.list",interface="http",status="200"} 1"#;
    for line in [limited, answered] {
        assert!(counted.iter().any(|it| it.ends_with(line)), "{counted:?}");
    }
    assert_eq!(world.spans().await, 1);
}
