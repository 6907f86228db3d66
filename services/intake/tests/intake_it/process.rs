//! The binary, as an operator starts it.

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use contracts::{event::Event, problem::Code};
use host::config::names;
use journal::{
    jetstream::{Caller, ConnectOptions, InstallOptions, install},
    layout::StreamCount,
};
use serde_json::json;
use testkit::{
    nats::{NatsServer, ServerOptions},
    process::Process,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
};

use crate::{
    caller,
    cases::{echo, intent, refund},
    world::{NEIGHBOUR, WORKSPACE, World, token},
};

pub fn spawn(world: &World, principals: Option<&Path>, directory: &Path) -> Process {
    spawn_with(world, principals, directory, &[])
}

pub fn spawn_with(
    world: &World,
    principals: Option<&Path>,
    directory: &Path,
    settings: &[(&str, &str)],
) -> Process {
    let mut command = command(world, directory);
    command.envs(settings.iter().copied());
    if let Some(path) = principals {
        command.env(names::PRINCIPALS_FILE, path);
    }
    Process::spawn("intake", command, &directory.join("log"))
}

/// Without principals.
pub fn command(world: &World, directory: &Path) -> Command {
    let password = directory.join("password");
    std::fs::write(&password, "intake-password\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_intake"));
    command
        .env(names::NATS_URL, world.broker.as_ref().unwrap().url())
        .env(names::NATS_USER, "intake")
        .env(names::NATS_PASSWORD_FILE, password)
        .env(names::NATS_API, "on")
        .env(names::LISTEN, "127.0.0.1:0");
    command
}

pub async fn address(process: &Process) -> std::net::SocketAddr {
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

/// What this principal sends to the broker, byte by byte; answers are not looked at.
pub async fn send_raw(world: &World, who: &str, commands: &[u8]) {
    let url = world.broker.as_ref().unwrap().url();
    let mut stream = TcpStream::connect(url.strip_prefix("nats://").unwrap())
        .await
        .unwrap();
    let connect = json!({
        "user": format!("{WORKSPACE}.{who}"), "pass": format!("{WORKSPACE}.{who}-password"),
        "verbose": false, "pedantic": false, "headers": true, "protocol": 1,
    });
    stream
        .write_all(format!("CONNECT {connect}\r\n").as_bytes())
        .await
        .unwrap();
    stream.write_all(commands).await.unwrap();
    stream.write_all(b"PING\r\n").await.unwrap();
    // With the answer to this the broker has taken what came before.
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("PONG") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{read:?}");
    }
}

pub async fn caller_of(world: &World, who: &str) -> Caller {
    let password = format!("{WORKSPACE}.{who}-password");
    let url = world.broker.as_ref().unwrap().url();
    let workspace = WORKSPACE.parse().unwrap();
    Caller::connect(&url, &workspace, &who.parse().unwrap(), &password)
        .await
        .unwrap()
}

/// Asks over NATS until an answer comes: the connection may just be made anew.
pub async fn submitted_over_nats(caller: &Caller, key: &str) -> u16 {
    let input = serde_json::to_vec(&intent(echo())).unwrap();
    let answered = async {
        loop {
            let headers = vec![("Idempotency-Key".to_owned(), key.to_owned())];
            let patience = Duration::from_secs(2);
            let asked = caller.ask("intent.submit", headers, input.clone().into(), patience);
            if let Ok(answer) = asked.await {
                return answer.header("Cp-Status").unwrap().parse().unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), answered)
        .await
        .unwrap()
}

/// Headers that the broker takes and a client may not be able to read.
pub fn hostile_headers() -> [Vec<u8>; 6] {
    let many = (0..2000).fold(String::new(), |mut many, number| {
        many.push('h');
        many.push_str(&number.to_string());
        many.push_str(": x\r\n");
        many
    });
    [
        b"x: a\rb\r\n".to_vec(),
        b"no colon\r\n".to_vec(),
        b": empty\r\n".to_vec(),
        b"x: \xff\xfe\r\n".to_vec(),
        b"\x00: \x00\r\n".to_vec(),
        many.into_bytes(),
    ]
}

/// A client library may give up its connection on such headers, or worse. The log is on another.
#[tokio::test]
async fn no_header_of_a_caller_stops_it() {
    let mut world = World::on_broker().await;
    let directory = tempfile::tempdir().unwrap();
    let process = spawn(&world, Some(&world.principals_file), directory.path());
    world.address = address(&process).await;
    process.line("serves operations over NATS").await;
    let caller = caller_of(&world, "sam").await;
    assert_eq!(submitted_over_nats(&caller, "before").await, 201);
    for (number, lines) in hostile_headers().into_iter().enumerate() {
        let mut block = b"NATS/1.0\r\n".to_vec();
        block.extend(lines);
        block.extend(b"\r\n");
        let subject = format!("cp.api.{WORKSPACE}.sam.intent.submit");
        let mut message =
            format!("HPUB {subject} {} {}\r\n", block.len(), block.len() + 2).into_bytes();
        message.extend(&block);
        message.extend(b"{}\r\n");
        send_raw(&world, "sam", &message).await;
        world.submit(&intent(echo())).await.ok();
        let key = format!("after-{number}");
        assert!(matches!(
            submitted_over_nats(&caller, &key).await,
            200 | 201
        ));
    }
    assert!(process.is_running());
}

/// Nothing is done for who shares the account of the services: there an answer could be sent to
/// anybody, or be stored.
#[tokio::test]
async fn who_asks_has_an_account_of_its_own() {
    let mut world = World::on_broker().await;
    let directory = tempfile::tempdir().unwrap();
    let process = spawn(&world, Some(&world.principals_file), directory.path());
    world.address = address(&process).await;
    process.line("serves operations over NATS").await;
    let input = intent(echo()).to_string();
    let subject = format!("cp.api.{WORKSPACE}.sam.intent.submit");
    for inbox in ["_INBOX_executor.x", "_INBOX.x", "_INBOX_neighbour.x"] {
        let message = format!("PUB {subject} {inbox} {}\r\n{input}\r\n", input.len());
        send_raw(&world, NEIGHBOUR, message.as_bytes()).await;
        process.line(&format!("reply=\"{inbox}\"")).await;
    }
    let last = world
        .journal
        .last_sequence(StreamCount::ONE.streams()[0])
        .await;
    assert_eq!(last.unwrap(), 0, "nothing was submitted");
}

#[tokio::test]
async fn on_a_broker_without_users_nothing_is_served_over_nats() {
    let broker = NatsServer::start(ServerOptions::default()).await;
    let options = ConnectOptions::new(broker.url(), "installer");
    let streams = InstallOptions::new(StreamCount::ONE);
    install(&options, streams).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_intake"));
    command
        .env(names::NATS_URL, broker.url())
        .env(names::NATS_USER, "intake")
        .env(names::NATS_API, "on")
        .env(names::LISTEN, "127.0.0.1:0");
    let process = Process::spawn("intake", command, &directory.path().join("log"));
    process.line("this broker asks nobody for a password").await;
    let client = broker.client().await;
    let asked = client
        .request(format!("cp.api.{WORKSPACE}.sam.intent.submit"), "{}".into())
        .await;
    assert!(asked.is_err(), "{asked:?}");
}
