//! The binary, as an operator starts it.

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use contracts::{event::Event, problem::Code};
use host::config::names;
use serde_json::json;
use testkit::process::Process;
use tokio::sync::Notify;

use crate::{
    caller,
    cases::{echo, intent, refund},
    world::{WORKSPACE, World, token},
};

fn spawn(world: &World, principals: Option<&Path>, directory: &Path) -> Process {
    let password = directory.join("password");
    std::fs::write(&password, "intake-password\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_intake"));
    command
        .env(names::NATS_URL, world.broker.as_ref().unwrap().url())
        .env(names::NATS_USER, "intake")
        .env(names::NATS_PASSWORD_FILE, password)
        .env(names::LISTEN, "127.0.0.1:0");
    if let Some(path) = principals {
        command.env(names::PRINCIPALS_FILE, path);
    }
    Process::spawn("intake", command, &directory.join("log"))
}

async fn address(process: &Process) -> std::net::SocketAddr {
    let line = process.line("running").await;
    let (_, rest) = line.split_once("address=").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_binary_serves_until_it_is_told_to_stop() {
    let mut world = World::on_broker().await;
    let directory = tempfile::tempdir().unwrap();
    let process = spawn(&world, Some(&world.principals_file), directory.path());
    world.address = address(&process).await;
    let world = world.equipped().await;
    let (execution, _) = world.blocked(refund(), "refund").await;
    let vote = json!({ "executionId": execution, "stepId": "refund", "approvedBy": "ada" });
    world.ask("ada", "execution.approve", &vote).await.ok();
    for path in ["/healthz", "/readyz"] {
        let answer = caller::get(world.address, path).await;
        assert_eq!(answer.status, 200, "{answer:#?}");
    }
    let said = process.output().join("\n");
    assert!(
        said.contains("the grant `execution.approve` is ignored"),
        "{said}"
    );
    assert!(!said.contains(&token("sam")), "no token in the log");
    process.term();
    assert!(process.wait(Duration::from_secs(10)).await.success());
}

#[tokio::test]
async fn without_principals_everybody_is_refused_and_the_log_says_so() {
    let mut world = World::on_broker().await;
    let directory = tempfile::tempdir().unwrap();
    let process = spawn(&world, None, directory.path());
    world.address = address(&process).await;
    world
        .submit(&intent(echo()))
        .await
        .is(Code::Unauthenticated);
    process
        .line("no principals are configured: every request is refused")
        .await;
}

#[tokio::test]
async fn with_a_faulty_file_it_does_not_start() {
    let world = World::on_broker().await;
    let directory = tempfile::tempdir().unwrap();
    let faulty = directory.path().join("principals.json");
    std::fs::write(&faulty, "{\"principals\": [{}]}").unwrap();
    let process = spawn(&world, Some(&faulty), directory.path());
    assert!(!process.wait(Duration::from_secs(30)).await.success());
    let said = process.line("missing field").await;
    assert!(said.contains("principals.json"), "{said}");
}

/// Whoever submits under keys, and asks again whenever the log was not there.
struct Submitter<'a> {
    world: &'a World,
    number: usize,
    refused: &'a Notify,
    restarted: &'a AtomicBool,
}

impl Submitter<'_> {
    /// The executions by key: some before the outage, some while it lasts, some after it.
    async fn run(&self) -> Vec<(String, String)> {
        let (mut taken, mut after) = (Vec::new(), 0);
        while after < 3 {
            let key = format!("{}-{}", self.number, taken.len());
            let input = json!({ "workspaceId": WORKSPACE, "text": key });
            let execution = loop {
                let begun_after = self.restarted.load(Ordering::SeqCst);
                let keyed = [("idempotency-key", key.as_str())];
                let answer = self
                    .world
                    .ask_with("sam", "intent.submit", &input, &keyed)
                    .await;
                if answer.status == 503 {
                    answer.is(Code::LogUnavailable);
                    assert_eq!(answer.header("retry-after"), Some("1"));
                    self.refused.notify_one();
                    continue;
                }
                after += usize::from(begun_after);
                break answer.text("executionId");
            };
            taken.push((key, execution));
        }
        taken
    }
}

/// Killed in the midst of requests: some are answered late, some with 503, and none is lost or
/// stored twice.
#[tokio::test]
async fn nothing_is_lost_when_the_broker_is_killed_under_load() {
    let mut world = World::on_broker().await;
    let directory = tempfile::tempdir().unwrap();
    let process = spawn(&world, Some(&world.principals_file), directory.path());
    world.address = address(&process).await;
    let mut broker = world.broker.take().unwrap();
    let (refused, restarted) = (Notify::new(), AtomicBool::new(false));
    let submitters = (0..16).map(|number| {
        let submitter = Submitter {
            world: &world,
            number,
            refused: &refused,
            restarted: &restarted,
        };
        async move { submitter.run().await }
    });
    let outage = async {
        process.line("connected to the broker").await;
        broker.kill9().await;
        refused.notified().await;
        let answer = caller::get(world.address, "/readyz").await;
        assert_eq!(answer.status, 503, "{answer:#?}");
        assert!(answer.body["reasons"]["log"].is_string(), "{answer:#?}");
        broker.restart().await;
        restarted.store(true, Ordering::SeqCst);
    };
    let (taken, ()) = tokio::join!(futures::future::join_all(submitters), outage);
    for (key, execution) in taken.iter().flatten() {
        let history = world.history(execution).await;
        let received: Vec<_> = history
            .iter()
            .filter_map(|recorded| {
                let Event::IntentReceived(received) = &recorded.event else {
                    return None;
                };
                Some(received.text.as_str())
            })
            .collect();
        assert_eq!(received, [key.as_str()]);
    }
    let answer = caller::get(world.address, "/readyz").await;
    assert_eq!(answer.status, 200, "{answer:#?}");
}
