//! Every metric is described; what is described, shown on the board or watched by a rule exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use axum::http::StatusCode;
use contracts::{
    event::Service,
    operations::execution::WaitingFor,
    position::{Position, Positions, StreamId},
    registry::OperationName,
    time::Timestamp,
};
use expect_test::expect_file;
use host::{
    health::Health,
    metrics::{
        Metrics,
        decisions::Outcome,
        described::{Description, table},
        driving::Brought,
        requests::{Asked, Interface, TurnedAway},
        spans::Lost,
    },
    trouble::Trouble,
};
use journal::{
    append::AppendError, delivery::Purpose, jetstream::Fate, layout::StreamCount,
    memory::MemoryJournal,
};

const START: i64 = 1_700_000_000_000;

fn text(service: Service, used: impl FnOnce(&Metrics)) -> String {
    let start = Timestamp::from_millis(START);
    let metrics = Metrics::new(service, start);
    used(&metrics);
    let journal = MemoryJournal::new(StreamCount::ONE, start);
    metrics.text(&Health::default(), &journal)
}

/// Everything that can be counted, counted once.
fn everything(metrics: &Metrics) {
    let took = Duration::from_millis(7);
    let subject = "controlPlane.demo".to_owned();
    let conflict = AppendError::Conflict { subject };
    metrics.log.not_stored(&conflict, took);
    metrics.log.grouped(20, Fate::Refused);
    metrics.log.incident("POISON_MESSAGE");
    metrics.decisions.made("plan.verified", Outcome::Appended);
    metrics.consumption.consumer(Purpose::Drive, Box::new(|| 3));
    metrics
        .consumption
        .trouble(&Trouble::Transient(String::new()));
    let asked = Asked::Operation(OperationName::ExecutionList);
    metrics
        .requests
        .answered(asked, Interface::Nats, StatusCode::OK, took);
    drop(metrics.requests.came(Interface::Http));
    metrics
        .requests
        .turned_away(Interface::Http, TurnedAway::Unauthenticated);
    metrics.driving.called(Brought::Completed, took);
    let position = Position {
        stream: StreamId::Catalogue,
        sequence: 9,
    };
    metrics
        .reading
        .projected(4, &Positions::from(position), Some(12));
    metrics
        .reading
        .waiting(WaitingFor::ALL.map(|kind| (kind, 2)));
    metrics.archiving.stands(StreamId::Log(0), 17, 40, 2);
    metrics.spans.exported(5);
    metrics.spans.dropped(Lost::QueueFull, 1);
}

/// The name that a series belongs to, and its labels.
fn series(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').map_or((series, ""), |(name, rest)| {
            (name, rest.trim_end_matches('}'))
        });
        let parts = labels.split("\",").filter(|part| !part.is_empty());
        let labels = parts.map(|part| part.split('=').next().unwrap().to_owned());
        all.entry(name.to_owned())
            .or_insert_with(BTreeSet::new)
            .extend(labels);
    }
    all
}

fn described(name: &str) -> Option<Description> {
    let all = Metrics::of_all();
    let of_histogram = ["_bucket", "_sum", "_count"]
        .into_iter()
        .find_map(|end| name.strip_suffix(end));
    let exact = all.iter().find(|it| it.name == name);
    let part = || {
        all.iter()
            .find(|it| it.kind == "histogram" && Some(it.name.as_str()) == of_histogram)
    };
    exact.or_else(part).cloned()
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_table_lists_every_metric() {
    let file = repository().join("schemas/metrics.md");
    expect_file![file].assert_eq(&table(&Metrics::of_all()));
}

#[test]
fn each_is_described_once_and_says_what_it_means() {
    let all = Metrics::of_all();
    let names: BTreeSet<&str> = all.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names.len(), all.len());
    for Description {
        name,
        kind,
        meaning,
        ..
    } in &all
    {
        assert!(meaning.len() > 20, "{name}: {meaning}");
        assert_eq!(*kind == "counter", name.ends_with("_total"), "{name}");
        // What is distributed is a time, or how many there are at once.
        let unit = ["_seconds", "_events"].iter().any(|it| name.ends_with(it));
        assert_eq!(*kind == "histogram", unit && *kind != "gauge", "{name}");
    }
}

#[test]
fn what_is_served_is_what_is_described() {
    let mut seen = BTreeSet::new();
    for service in Service::ALL {
        let text = text(service, everything);
        assert!(text.ends_with("# EOF\n"), "{text}");
        for (name, labels) in series(&text) {
            let known = described(&name).unwrap_or_else(|| panic!("`{name}` is not described"));
            let mut wanted: BTreeSet<String> =
                known.labels.iter().map(|it| (*it).to_owned()).collect();
            wanted.insert("service".to_owned());
            if name.ends_with("_bucket") {
                wanted.insert("le".to_owned());
            }
            assert_eq!(labels, wanted, "{name}");
            seen.insert(known.name);
        }
    }
    // Only a delivery of a broker says how many are left.
    seen.insert("control_plane_consumer_pending".to_owned());
    let all: BTreeSet<String> = Metrics::of_all().into_iter().map(|it| it.name).collect();
    assert_eq!(all, seen);
}

#[test]
fn a_service_shows_nothing_that_it_does_not_do() {
    let planner = series(&text(Service::Planner, everything));
    assert!(planner.contains_key("control_plane_deliveries_total"));
    for other in [
        "control_plane_drivers",
        "control_plane_request_seconds_count",
        "control_plane_projection_position",
    ] {
        assert!(!planner.contains_key(other), "{other}");
    }
}

#[test]
fn what_may_happen_is_there_before_it_does() {
    let text = text(Service::Executor, |_| {});
    for line in [
        "control_plane_incidents_raised_total{service=\"executor\",code=\"LOG_FORKED\"} 0",
        "control_plane_events_total{service=\"executor\",event=\"execution.failed\"} 0",
        "control_plane_append_seconds_count{service=\"executor\",outcome=\"unknown\"} 0",
        "control_plane_spans_dropped_total{service=\"executor\",reason=\"queue_full\"} 0",
        "control_plane_build_info{service=\"executor\",version=\"0.1.0\"} 1",
        "control_plane_ready{service=\"executor\"} 1",
        "process_start_time_seconds{service=\"executor\"} 1700000000.0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    // A planner never writes it.
    assert!(!text.contains("plan.compiled"));
}

/// Names of ours in a text of any kind.
fn names_in(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    text.split(word)
        .filter(|it| it.starts_with("control_plane_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_board_and_the_rules_ask_for_what_there_is() {
    let read = |path: &str| std::fs::read_to_string(repository().join(path)).unwrap();
    let board = read("deploy/grafana/control-plane.json");
    let _: serde_json::Value = serde_json::from_str(&board).unwrap();
    let rules = read("deploy/prometheus/alerts.yaml");
    for (of, text) in [("the board", &board), ("a rule", &rules)] {
        let names = names_in(text);
        assert!(names.len() > 3, "{names:?}");
        for name in names {
            assert!(described(&name).is_some(), "{of} asks for `{name}`");
        }
    }
    // Whatever is counted, an operator finds on the board.
    let shown: BTreeSet<String> = names_in(&board)
        .iter()
        .map(|name| described(name).unwrap().name)
        .collect();
    let ours = Metrics::of_all().into_iter().map(|it| it.name);
    let missing: Vec<String> = ours
        .filter(|name| name.starts_with("control_plane_") && !shown.contains(name))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}
