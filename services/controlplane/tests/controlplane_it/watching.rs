//! How an execution is seen from outside: as one trace, in the logs of all services, in numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::TcpListener,
    process::Command,
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use contracts::{canonical::Digest, time::Timestamp};
use controlplane::export::Line;
use host::{
    metrics::{Metrics, described::Description},
    trace::otlp::{ExportTraceServiceRequest, SpanMessage, any_value::Value as Attribute},
};
use prost::Message as _;
use serde_json::Value;
use testkit::process::{Process, binary};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::world::{STOP_WITHIN, World};

const HELLO: &str = r#"{"steps":[{"id":"hello","uses":"core.echo/echo","with":{}}]}"#;

const SERVICES: [&str; 5] = ["intake", "planner", "verifier", "executor", "projector"];

/// How long spans may take to arrive: they are gathered for a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// A span, and the service that told it.
type Told = (String, SpanMessage);

/// A collector of traces.
struct Collector {
    url: String,
    told: watch::Receiver<Vec<Told>>,
}

impl Collector {
    async fn start() -> Self {
        let (tell, told) = watch::channel(Vec::new());
        let routes = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::new(tell));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, told }
    }

    /// The spans of a trace, once those with these ids, and all that they hang from, are there.
    async fn trace(&mut self, trace: &str, wanted: &BTreeSet<String>) -> Vec<Told> {
        let of_trace = |told: &[Told]| -> Vec<Told> {
            let mine = told.iter().filter(|(_, span)| hex(&span.trace_id) == trace);
            mine.cloned().collect()
        };
        let complete = |told: &Vec<Told>| {
            let mine = of_trace(told);
            let ids: BTreeSet<String> = mine.iter().map(|(_, it)| hex(&it.span_id)).collect();
            let named = mine.iter().map(|(_, it)| hex(&it.parent_span_id));
            ids.is_superset(wanted)
                && named
                    .filter(|it| !it.is_empty())
                    .all(|it| ids.contains(&it))
        };
        let arrived = timeout(PATIENCE, self.told.wait_for(complete))
            .await
            .is_ok();
        let told = of_trace(&self.told.borrow());
        let names: Vec<&str> = told.iter().map(|(_, span)| span.name.as_str()).collect();
        assert!(arrived, "only these arrived: {names:?}");
        told
    }
}

async fn take(State(tell): State<Arc<watch::Sender<Vec<Told>>>>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST;
    };
    for of_process in request.resource_spans {
        let resource = of_process.resource.unwrap();
        let service = text(&resource.attributes, "service.name").unwrap();
        let spans = of_process.scope_spans.into_iter().flat_map(|it| it.spans);
        tell.send_modify(|told| told.extend(spans.map(|span| (service.clone(), span))));
    }
    StatusCode::OK
}

fn text(attributes: &[host::trace::otlp::KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Attribute::Text(text) => Some(text.clone()),
        Attribute::Flag(flag) => Some(flag.to_string()),
        Attribute::Number(number) => Some(number.to_string()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The headers of an event as it is stored.
type Headers = BTreeMap<String, String>;

/// The events of an execution by their spans: the first 8 bytes of their ids.
fn events(world: &World, id: &str) -> BTreeMap<String, Headers> {
    let file = world.path("log.jsonl");
    let exported = world.type_in(&["events", "export", "--output", file.to_str().unwrap()]);
    assert_eq!(exported.code, 0, "{}", exported.err);
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().skip(1);
    let lines = lines.map(|line| serde_json::from_str::<Line>(line).unwrap());
    let mine = lines.filter(|line| line.subject.contains(id));
    let mut by_span = BTreeMap::new();
    for line in mine {
        let headers: Headers = line.headers.into_iter().collect();
        let span = headers["ce-id"].replace('-', "")[..16].to_owned();
        assert_eq!(by_span.insert(span, headers), None);
    }
    by_span
}

fn finished(world: &World) -> String {
    let id = world.submit(&["Say hello", "--draft", HELLO]);
    let watched = world.type_in(&["execution", "watch", &id]);
    assert_eq!(watched.code, 0, "{}{}", watched.out, watched.err);
    id
}

#[tokio::test]
async fn one_execution_is_one_trace_and_is_found_in_every_log() {
    let mut collector = Collector::start().await;
    let world = World::up_told(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
        ("CONTROL_PLANE_LOG", "debug"),
        ("CONTROL_PLANE_LOG_FORMAT", "json"),
    ])
    .await;
    let said = world.process().output().join("\n");
    assert!(said.contains(&format!("go to {}", collector.url)), "{said}");

    let id = finished(&world);
    let trace = Digest::of(id.as_bytes()).to_string()[..32].to_owned();
    let events = events(&world, &id);
    assert!(events.len() >= 7, "{events:?}");
    for (span, event) in &events {
        assert_eq!(event["traceparent"], format!("00-{trace}-{span}-01"));
    }

    let wanted: BTreeSet<String> = events.keys().cloned().collect();
    let told = collector.trace(&trace, &wanted).await;
    is_one_tree(&told);
    names_its_events(&told, &events, &id);
    is_found_in_every_log(&world, &id, &trace);
    counts(&world).await;

    world.process().interrupt();
    assert!(world.process().wait(STOP_WITHIN).await.success());
}

fn is_one_tree(told: &[Told]) {
    let parents: BTreeMap<String, String> = told
        .iter()
        .map(|(_, span)| (hex(&span.span_id), hex(&span.parent_span_id)))
        .collect();
    assert_eq!(parents.len(), told.len(), "a span is told twice");
    let roots = parents.values().filter(|parent| parent.is_empty());
    assert_eq!(roots.count(), 1, "{parents:?}");
    for span in parents.keys() {
        let mut at = span;
        for _ in 0..=parents.len() {
            if at.is_empty() {
                break;
            }
            at = parents
                .get(at)
                .unwrap_or_else(|| panic!("`{at}`, above `{span}`, was not told"));
        }
        assert!(at.is_empty(), "`{span}` is its own ancestor");
    }
}

/// Each event is a span of the service that wrote it; the others are the request and the call.
fn names_its_events(told: &[Told], events: &BTreeMap<String, Headers>, id: &str) {
    let one = |name: &str| -> &SpanMessage {
        let mut found = told.iter().filter(|(_, span)| span.name == name);
        let (_, span) = found.next().unwrap_or_else(|| panic!("no `{name}`"));
        assert!(found.next().is_none(), "`{name}` twice");
        span
    };
    for (service, span) in told {
        assert!(
            span.start_time_unix_nano <= span.end_time_unix_nano,
            "{span:?}"
        );
        assert_eq!(span.status, None, "{span:?}");
        let execution = text(&span.attributes, "control_plane.execution.id");
        assert_eq!(execution.as_deref(), Some(id), "{span:?}");
        let Some(event) = events.get(&hex(&span.span_id)) else {
            continue;
        };
        assert_eq!(event["ce-type"], format!("controlPlane.{}", span.name));
        let source = event["ce-source"].replace("/control-plane/", "control-plane-");
        assert_eq!(source, *service);
        let at: Timestamp = event["ce-time"].parse().unwrap();
        let at = u64::try_from(at.as_millis()).unwrap() * 1_000_000;
        assert_eq!(span.end_time_unix_nano, at);
    }
    let beside: Vec<&str> = told
        .iter()
        .filter(|(_, span)| !events.contains_key(&hex(&span.span_id)))
        .map(|(_, span)| span.name.as_str())
        .collect();
    assert_eq!(
        BTreeSet::from_iter(beside.clone()),
        BTreeSet::from(["controlPlane.intent.submit", "call core.echo/echo"]),
        "{beside:?}"
    );
    // A chain from the request to the end of the step.
    let chain = [
        "controlPlane.intent.submit",
        "intent.received",
        "plan.compiled",
        "plan.verified",
        "execution.step.started",
        "call core.echo/echo",
        "execution.step.completed",
    ];
    for pair in chain.windows(2) {
        let (above, below) = (one(pair[0]), one(pair[1]));
        assert_eq!(hex(&below.parent_span_id), hex(&above.span_id), "{pair:?}");
    }
    let started = one("execution.step.started");
    let skill = text(&started.attributes, "control_plane.skill").unwrap();
    assert!(skill.starts_with("core.echo@"), "{skill}");
    let verified = one("plan.verified");
    let verdict = text(&verified.attributes, "control_plane.verdict");
    assert_eq!(verdict.as_deref(), Some("autonomous"));
    assert_eq!((one(chain[0]).kind, one(chain[5]).kind), (2, 3));
}

fn is_found_in_every_log(world: &World, id: &str, trace: &str) {
    let token = world.file("credentials.json");
    let credentials: Value = serde_json::from_str(&token).unwrap();
    let secret = credentials["submitter"]["token"].as_str().unwrap();
    for service in SERVICES {
        let log = world.file(&format!("logs/{service}.log"));
        assert!(!log.contains(secret), "`{service}` logs a token");
        let lines = log.lines().map(|line| {
            let read: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("`{service}` says {line:?}: {error}"));
            read
        });
        let about: Vec<Value> = lines.filter(|line| line["execution"] == id).collect();
        assert!(
            !about.is_empty(),
            "`{service}` says nothing of {id}:\n{log}"
        );
        let traced = about.iter().filter(|line| line["trace"] == trace);
        assert!(traced.count() > 0, "`{service}`: {about:#?}");
        let other = about
            .iter()
            .find(|line| line.get("trace").is_some_and(|it| it != trace));
        assert_eq!(other, None, "`{service}` names another trace");
    }
}

/// What all five say at `/metrics`.
async fn scraped(world: &World) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = controlplane::api::client().unwrap();
    let groups: Value = serde_json::from_str(&world.file("run/prometheus.json")).unwrap();
    let mut all = String::new();
    for group in groups.as_array().unwrap() {
        let address = group["targets"][0].as_str().unwrap();
        let url = format!("http://{address}/metrics");
        let answer = client.get(url).send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        all.push_str(&answer.text().await.unwrap());
    }
    all
}

/// The numbers after one execution, once its driver has come to rest.
async fn counts(world: &World) {
    let missing = |all: &str| {
        let wanted = AFTER_ONE.into_iter();
        let missing = wanted.filter(|wanted| !all.lines().any(|line| line == *wanted));
        missing.collect::<Vec<_>>()
    };
    let began = Instant::now();
    let mut all = scraped(world).await;
    while !missing(&all).is_empty() {
        assert!(began.elapsed() < PATIENCE, "{:#?}\n{all}", missing(&all));
        all = scraped(world).await;
    }
    let known: BTreeMap<String, Description> = Metrics::of_all()
        .into_iter()
        .map(|it| (it.name.clone(), it))
        .collect();
    for line in all.lines().filter(|line| line.starts_with("# TYPE ")) {
        let mut words = line.split(' ').skip(2);
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        let full = match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        };
        assert_eq!(known[&full].kind, kind, "{line}");
    }
    for begins in [
        "control_plane_append_seconds_sum{service=\"executor\",outcome=\"stored\"} ",
        "control_plane_projection_position{service=\"projector\",stream=\"CONTROL_PLANE_00\"} ",
        "control_plane_projection_delay_seconds_count{service=\"projector\"} ",
        "control_plane_spans_exported_total{service=\"executor\"} ",
    ] {
        assert!(
            all.lines().any(|it| it.starts_with(begins)),
            "{begins}\n{all}"
        );
    }
}

/// Of one execution of one step, in a control plane that has done nothing else.
const AFTER_ONE: [&str; 17] = [
    "control_plane_events_total{service=\"intake\",event=\"intent.received\"} 1",
    "control_plane_events_total{service=\"planner\",event=\"plan.compiled\"} 1",
    "control_plane_events_total{service=\"verifier\",event=\"plan.verified\"} 1",
    "control_plane_events_total{service=\"executor\",event=\"execution.completed\"} 1",
    "control_plane_decisions_total{service=\"planner\",input=\"intent.received\",outcome=\"appended\"} 1",
    "control_plane_decisions_total{service=\"intake\",input=\"controlPlane.intent.submit\",outcome=\"appended\"} 1",
    "control_plane_deliveries_total{service=\"planner\",consumer=\"drive\"} 1",
    "control_plane_redeliveries_total{service=\"planner\",consumer=\"drive\"} 0",
    "control_plane_consumer_pending{service=\"planner\",consumer=\"drive\",stream=\"CONTROL_PLANE_00\"} 0",
    "control_plane_consumer_unanswered{service=\"executor\",consumer=\"drive\"} 0",
    "control_plane_drivers{service=\"executor\"} 0",
    "control_plane_call_seconds_count{service=\"executor\",outcome=\"completed\"} 1",
    "control_plane_request_seconds_count{service=\"intake\",operation=\"controlPlane.intent.submit\",interface=\"http\",status=\"201\"} 1",
    "control_plane_requests_in_flight{service=\"intake\",interface=\"http\"} 0",
    "control_plane_executions_waiting{service=\"projector\",reason=\"approval\"} 0",
    "control_plane_ready{service=\"projector\"} 1",
    "control_plane_broker_connected{service=\"verifier\"} 1",
];

/// Runs an execution with a collector that takes nothing, stops, and gives the lines of complaint.
async fn without(endpoint: &str) -> BTreeMap<&'static str, usize> {
    let began = Instant::now();
    let world = World::up_told(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).await;
    finished(&world);

    let stopping = Instant::now();
    world.process().interrupt();
    assert!(world.process().wait(STOP_WITHIN).await.success());
    // Whoever does not stop within ten seconds is killed.
    assert!(stopping.elapsed() < Duration::from_secs(9));
    let minutes = usize::try_from(began.elapsed().as_secs() / 60).unwrap() + 1;
    let complaints = SERVICES.map(|service| {
        let log = world.file(&format!("logs/{service}.log"));
        assert!(!log.contains("panicked"), "{log}");
        let lines = log
            .lines()
            .filter(|line| line.contains("spans") || line.contains("collector"));
        let lines = lines.count();
        assert!(lines <= minutes + 1, "{log}");
        (service, lines)
    });
    complaints.into()
}

#[tokio::test]
async fn where_nobody_collects_everything_works_and_little_is_said() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let complaints = without(&format!("http://{address}")).await;
    for service in ["intake", "planner", "verifier", "executor"] {
        assert!(complaints[service] >= 1, "{complaints:?}");
    }
    assert_eq!(complaints["projector"], 0, "it has told nothing");
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_nobody_up() {
    // Connections are made, and nothing is read from them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    without(&format!("http://{}", silent.local_addr().unwrap())).await;
}

#[tokio::test]
async fn a_protocol_that_is_not_spoken_is_refused_at_the_start() {
    let directory = crate::world::directory();
    let mut command = Command::new(binary("planner"));
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let planner = Process::spawn("planner", command, &directory.path().join("planner.log"));
    assert!(!planner.wait(STOP_WITHIN).await.success());

    let mut command = Command::new(binary("controlplane"));
    let data = directory.path().join("data");
    command
        .args(["up", "--data", data.to_str().unwrap()])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization");
    let up = Process::spawn("up", command, &directory.path().join("up.log"));
    up.line("`OTEL_EXPORTER_OTLP_HEADERS` is `(not shown)`")
        .await;
    assert!(!up.wait(STOP_WITHIN).await.success());
}
