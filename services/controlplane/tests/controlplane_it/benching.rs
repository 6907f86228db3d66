//! `bench`, on few executions: what it measures is not judged here, only that it measures.
#![cfg(target_os = "linux")]

use serde_json::Value;

use crate::world::{directory, type_in};

const OTHER_CONDITIONS: &str = "measured under other conditions";

fn bench(words: &[&str]) -> Value {
    let common = [
        "-n",
        "8",
        "-c",
        "4",
        "--rounds",
        "2",
        "--warm-up",
        "2",
        "--json",
    ];
    let answer = type_in(&[&["bench"], words, &common].concat());
    assert_eq!(answer.code, 0, "{}", answer.err);
    serde_json::from_str(&answer.out).unwrap()
}

fn positive(report: &Value, figure: &str) {
    let found = report.pointer(figure).and_then(Value::as_f64);
    assert!(found.is_some_and(|it| it > 0.0), "{figure}: {report:#}");
}

#[test]
fn every_figure_has_its_floor_and_its_conditions() {
    for words in [
        &["--plan", "sequence"][..],
        &["--plan", "parallel", "--through", "nats"],
    ] {
        let report = bench(words);
        for figure in [
            "/executionsPerSecond",
            "/latencyMs/p50",
            "/submitMs/p99",
            "/floorExecutionsPerSecond",
            "/floorLatencyMs/p50",
            "/rawAppendsPerSecond",
            "/throughputRatio",
            "/storedBytesPerExecution",
            "/memoryMib/nats-server",
        ] {
            positive(&report, figure);
        }
        assert_eq!(report["eventsPerExecution"], 15.0);
        assert_eq!(report["conditions"]["concurrency"], 4);
        assert_eq!(report["conditions"]["durability"], "process");
        assert_eq!(report["rounds"].as_array().unwrap().len(), 2);
        let processes = report["cpuMsByProcess"].as_object().unwrap();
        let has_worker = processes.contains_key("worker");
        assert_eq!(has_worker, words.contains(&"nats"), "{processes:?}");
    }
}

#[test]
fn three_servers_are_one_broker() {
    let few = [
        "-n",
        "20",
        "-c",
        "4",
        "--rounds",
        "1",
        "--warm-up",
        "2",
        "--json",
    ];
    let report = |words: &[&str]| -> Value {
        let answer = type_in(&[&["bench"], words, &["--servers", "3"], &few].concat());
        assert_eq!(answer.code, 0, "{}", answer.err);
        let servers = answer.err.matches("nats://127.0.0.1:").count();
        assert_eq!(servers, 3, "{}", answer.err);
        serde_json::from_str(&answer.out).unwrap()
    };
    let both = report(&["--durability", "disk"]);
    for figure in [
        "/executionsPerSecond",
        "/latencyMs/p50",
        "/floorExecutionsPerSecond",
        "/rawAppendsPerSecond",
        "/cpuMsByProcess/nats-server",
        "/floorCpuMsByProcess/floor nats-server",
        "/cpuRatio",
    ] {
        positive(&both, figure);
    }
    assert_eq!(both["eventsPerExecution"], 15.0);
    assert_eq!(both["conditions"]["servers"], 3);
    assert_eq!(both["conditions"]["durability"], "disk");
    assert_eq!(both["conditions"]["consumerState"], Value::Null);
    let bare = report(&["floor", "--consumer-state", "memory"]);
    positive(&bare, "/floorExecutionsPerSecond");
    assert_eq!(bare["executionsPerSecond"], Value::Null);
    assert_eq!(bare["conditions"]["servers"], 3);
    assert_eq!(bare["conditions"]["consumerState"], "memory");

    let directory = directory();
    let [one, three] = ["one", "three"].map(|name| directory.path().join(name));
    let mut of_one = both.clone();
    of_one["conditions"]["servers"] = 1.into();
    std::fs::write(&one, of_one.to_string()).unwrap();
    std::fs::write(&three, both.to_string()).unwrap();
    let compared = |with: &std::path::Path| {
        let files = [with, &three].map(|file| file.to_str().unwrap());
        type_in(&[&["bench", "compare"], &files[..]].concat()).out
    };
    assert!(compared(&one).contains(OTHER_CONDITIONS));
    assert!(!compared(&three).contains(OTHER_CONDITIONS));
}

#[test]
fn two_reports_are_compared() {
    let directory = directory();
    let report = bench(&["--no-floor", "--prefill", "120"]);
    assert_eq!(report["floorExecutionsPerSecond"], Value::Null);
    assert!(report["conditions"]["eventsBefore"].as_u64().unwrap() >= 120);
    let file = directory.path().join("report.json");
    std::fs::write(&file, report.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let compared = type_in(&["bench", "compare", file, file, "--json"]);
    assert_eq!(compared.code, 0, "{}", compared.err);
    let compared: Value = serde_json::from_str(&compared.out).unwrap();
    let compared = compared.as_array().unwrap();
    assert!(compared.len() >= 5, "{compared:?}");
    assert!(compared.iter().all(|it| it["ratio"] == 1.0));
    let none = type_in(&["bench", "compare", file, "/nowhere"]);
    assert_eq!(none.code, 2);
    assert!(none.err.contains("/nowhere"), "{}", none.err);
}
