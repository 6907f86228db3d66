//! The binary, as an operator starts it.

use std::{path::Path, process::Command, time::Duration};

use contracts::problem::Code;
use host::config::names;
use serde_json::json;
use testkit::process::Process;

use crate::{
    caller,
    cases::{echo, intent, refund},
    world::{World, token},
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
        let head = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        let answer = caller::raw(world.address, &head, b"").await;
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
