//! The demonstration, from its first line to its last process.

use testkit::process::Process;

use crate::world::{STOP_WITHIN, command, data_in, directory, processes_of, type_in};

#[tokio::test]
async fn once_it_ends_by_itself_as_it_should_and_leaves_no_process() {
    let directory = directory();
    let data = data_in(directory.path());
    let words = ["demo", "--once", "--data", data.to_str().unwrap()];
    let log = directory.path().join("demo.log");
    let demo = Process::spawn("demo", command(&words), &log);
    demo.line("all 5 intents ended as they should").await;
    assert!(demo.wait(STOP_WITHIN).await.success());
    assert_eq!(processes_of(directory.path()), []);
    let told = demo.output().join("\n");
    let is_cut_off = |line: &str| line.ends_with("risk ") || line.contains(": ,");
    assert!(!told.lines().any(is_cut_off), "{told}");
    for part in [
        "plan       2 steps",
        "approved   by approver: “the photo shows the broken switch”",
        "rejected   by approver",
        "judged     `refund` again, now that its inputs are known: assist, risk medium",
        "instruction",
        "STEP_ID_DUPLICATE",
        "0 differences",
    ] {
        assert!(told.contains(part), "`{part}` is not in\n{told}");
    }
}

#[tokio::test]
async fn it_stays_up_with_a_refund_that_a_person_approves() {
    let directory = directory();
    let data = data_in(directory.path());
    let words = ["demo", "--json", "--data", data.to_str().unwrap()];
    let demo = Process::spawn("demo", command(&words), &directory.path().join("demo.log"));
    let line = demo.line("\"waiting\"").await;
    let report: serde_json::Value = serde_json::from_str(&line).unwrap();
    let waiting = report["waiting"].as_str().unwrap();
    let context = report["context"].as_str().unwrap();

    let approved = type_in(&[
        "--context",
        context,
        "execution",
        "approve",
        waiting,
        "--yes",
    ]);
    assert_eq!(approved.code, 0, "{}", approved.err);
    assert!(
        approved.out.contains("\"amountMinor\": 2450"),
        "{}",
        approved.out
    );
    let words = "Where is order 1002?";
    let asked = ["--context", context, "intent", "submit", words, "--watch"];
    let asked = [&asked[..], &["--param", "orderId=1002"]].concat();
    assert_eq!(type_in(&asked).code, 0);
    demo.interrupt();
    assert!(demo.wait(STOP_WITHIN).await.success());
    assert_eq!(processes_of(directory.path()), []);
}
