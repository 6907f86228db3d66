#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_nats::{Client, ConnectOptions};
use futures::StreamExt as _;
use serde_json::{Value, json};
use testkit::nats::{NatsServer, ServerOptions};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
};
use worker::{
    Call, Failure, Limits, ServeError, Worker,
    wire::{InvalidReply, Reply},
};

/// A worker's user may subscribe to its skills and answer, nothing else; `other` may do all.
const USERS: &str = r#"
authorization {
  users: [
    { user: executor, password: secret, permissions: { publish: "cp.skill.>", subscribe: "_INBOX_executor.>" } }
    { user: other, password: secret }
    { user: worker, password: secret, permissions: {
        subscribe: "cp.skill.demo.*", publish: { deny: ">" }, allow_responses: { max: 1, expires: "10m" } } }
  ]
}
"#;

/// A worker whose handler the test steers.
struct Stage {
    server: NatsServer,
    caller: Client,
    /// Calls that have begun.
    begun: mpsc::UnboundedReceiver<Call>,
    /// Each permit lets one call end.
    gate: Arc<Semaphore>,
    acts: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl Stage {
    async fn set(limits: Limits) -> Self {
        let server = NatsServer::start(ServerOptions {
            config: USERS.to_owned(),
            ..ServerOptions::default()
        })
        .await;
        let caller = ConnectOptions::with_user_and_password("executor".into(), "secret".into())
            .custom_inbox_prefix("_INBOX_executor")
            .connect(server.url())
            .await
            .unwrap();
        let worker = Worker::connect(&server.url(), "worker", "secret", limits)
            .await
            .unwrap();
        let (starts, begun) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let gate = Arc::new(Semaphore::new(0));
        let acts = Arc::new(AtomicUsize::new(0));
        let handler = {
            let (gate, acts) = (Arc::clone(&gate), Arc::clone(&acts));
            move |call: Call| {
                let (gate, acts, starts) = (Arc::clone(&gate), Arc::clone(&acts), starts.clone());
                async move {
                    let number = acts.fetch_add(1, Ordering::SeqCst) + 1;
                    starts.send(call.clone()).unwrap();
                    gate.acquire().await.unwrap().forget();
                    match call.action.as_str() {
                        "fail" => Err(Failure::transient("BUSY", "come back later")),
                        "panic" => panic!("as asked"),
                        _ => Ok(json!({ "act": number })),
                    }
                }
            }
        };
        let serving = tokio::spawn(async move {
            worker
                .serve("demo", "orders", handler, async {
                    let _ = stopped.await;
                })
                .await
        });
        let mut stage = Self {
            server,
            caller,
            begun,
            gate,
            acts,
            stop: Some(stop),
            serving,
        };
        stage.is_serving().await;
        stage
    }

    /// Somebody else whom the broker lets in.
    async fn other(&self) -> Client {
        ConnectOptions::with_user_and_password("other".into(), "secret".into())
            .connect(self.server.url())
            .await
            .unwrap()
    }

    /// Returns once the worker answers: until then the broker says at once that nobody is there.
    async fn is_serving(&mut self) {
        loop {
            match self
                .caller
                .request("cp.skill.demo.orders", "{}".into())
                .await
            {
                Ok(_) => return,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    fn call(&self, key: &str, action: &str) -> JoinHandle<Reply> {
        let call = call(key, action);
        self.send(call.headers(), serde_json::to_value(&call).unwrap())
    }

    fn send(&self, headers: async_nats::HeaderMap, body: Value) -> JoinHandle<Reply> {
        let caller = self.caller.clone();
        tokio::spawn(async move {
            let body = serde_json::to_vec(&body).unwrap();
            let answer = caller
                .request_with_headers("cp.skill.demo.orders", headers, body.into())
                .await
                .unwrap();
            Reply::decode(&answer.payload).unwrap()
        })
    }

    /// Calls until the worker has taken note of the end of the call before.
    async fn call_again(&self, key: &str) -> Reply {
        loop {
            let reply = self.call(key, "read").await.unwrap();
            if reply != Reply::InProgress(true) {
                return reply;
            }
        }
    }

    fn let_end(&self, calls: usize) {
        self.gate.add_permits(calls);
    }

    async fn done(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.serving.await.unwrap().unwrap();
        drop(self.server);
    }
}

fn call(key: &str, action: &str) -> Call {
    Call {
        workspace: "demo".into(),
        execution_id: "e".into(),
        run_id: "e:1".into(),
        step_id: "s".into(),
        skill: "support.orders".into(),
        version: "1.0.0".into(),
        action: action.into(),
        attempt: 1,
        idempotency_key: key.into(),
        deadline: "2030-01-01T00:00:00.000Z".into(),
        inputs: json!({ "orderId": "1001" }),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        token: Some("token".into()),
    }
}

fn output(act: usize) -> Reply {
    Reply::Output(json!({ "act": act }))
}

fn busy() -> Reply {
    Reply::Error(Failure::transient("BUSY", "come back later"))
}

#[tokio::test]
async fn a_call_arrives_whole_and_is_answered() {
    let mut stage = Stage::set(Limits::default()).await;
    stage.let_end(1);
    assert_eq!(stage.call("k", "read").await.unwrap(), output(1));
    assert_eq!(stage.begun.recv().await.unwrap(), call("k", "read"));
    stage.done().await;
}

#[tokio::test]
async fn a_repeat_after_a_success_gets_the_same_answer_without_an_act() {
    let stage = Stage::set(Limits::default()).await;
    stage.let_end(2);
    assert_eq!(stage.call("k", "read").await.unwrap(), output(1));
    assert_eq!(stage.call("other", "read").await.unwrap(), output(2));
    assert_eq!(stage.call("k", "read").await.unwrap(), output(1));
    assert_eq!(stage.acts.load(Ordering::SeqCst), 2);
    stage.done().await;
}

#[tokio::test]
async fn a_repeat_meanwhile_is_told_that_the_first_is_in_progress() {
    let mut stage = Stage::set(Limits::default()).await;
    let first = stage.call("k", "read");
    stage.begun.recv().await.unwrap();
    assert_eq!(
        stage.call("k", "read").await.unwrap(),
        Reply::InProgress(true)
    );
    stage.let_end(1);
    assert_eq!(first.await.unwrap(), output(1));
    stage.done().await;
}

#[tokio::test]
async fn a_failure_is_never_answered_from_memory() {
    let stage = Stage::set(Limits::default()).await;
    stage.let_end(2);
    assert_eq!(stage.call("k", "fail").await.unwrap(), busy());
    assert_eq!(stage.call_again("k").await, output(2));
    stage.done().await;
}

#[tokio::test]
async fn eight_calls_are_at_work_at_once_and_no_more_than_the_limit() {
    let limits = Limits {
        calls_max: 8,
        ..Limits::default()
    };
    let mut stage = Stage::set(limits).await;
    let calls: Vec<_> = (0..12)
        .map(|n| stage.call(&format!("k{n}"), "read"))
        .collect();
    for _ in 0..8 {
        stage.begun.recv().await.unwrap();
    }
    // A call that is refused needs no place, and is behind the others: it is not taken yet.
    assert!(stage.begun.try_recv().is_err());
    assert_eq!(stage.acts.load(Ordering::SeqCst), 8);
    stage.let_end(12);
    for call in calls {
        assert!(matches!(call.await.unwrap(), Reply::Output(_)));
    }
    stage.done().await;
}

#[tokio::test]
async fn the_oldest_answers_are_forgotten_first() {
    let limits = Limits {
        answers_max: 2,
        ..Limits::default()
    };
    let stage = Stage::set(limits).await;
    stage.let_end(5);
    for (act, key) in ["a", "b", "c"].into_iter().enumerate() {
        assert_eq!(stage.call(key, "read").await.unwrap(), output(act + 1));
    }
    assert_eq!(stage.call("c", "read").await.unwrap(), output(3));
    assert_eq!(stage.call("b", "read").await.unwrap(), output(2));
    assert_eq!(stage.call("a", "read").await.unwrap(), output(4));
    stage.done().await;
}

#[tokio::test]
async fn answers_are_bounded_by_their_bytes_too() {
    let limits = Limits {
        answers_bytes_max: 25,
        ..Limits::default()
    };
    let stage = Stage::set(limits).await;
    stage.let_end(3);
    assert_eq!(stage.call("a", "read").await.unwrap(), output(1));
    assert_eq!(stage.call("b", "read").await.unwrap(), output(2));
    assert_eq!(stage.call("a", "read").await.unwrap(), output(3));
    stage.done().await;
}

#[tokio::test]
async fn a_handler_that_panics_answers_nothing_and_its_key_is_free_again() {
    let mut stage = Stage::set(Limits::default()).await;
    let broken = stage.call("k", "panic");
    stage.begun.recv().await.unwrap();
    stage.let_end(2);
    assert_eq!(stage.call_again("k").await, output(2));
    assert!(!broken.is_finished());
    broken.abort();
    stage.done().await;
}

#[tokio::test]
async fn what_is_no_call_of_this_skill_is_refused() {
    let stage = Stage::set(Limits::default()).await;
    let good = call("k", "read");
    let body = serde_json::to_value(&good).unwrap();
    let mut elsewhere = body.clone();
    elsewhere["workspace"] = json!("other");
    let mut other_key = good.clone();
    other_key.idempotency_key = "another".into();
    for (headers, body) in [
        (good.headers(), json!({ "inputs": {} })),
        (good.headers(), elsewhere),
        (other_key.headers(), body),
    ] {
        let Reply::Error(failure) = stage.send(headers, body).await.unwrap() else {
            panic!("a call of another skill was taken");
        };
        assert_eq!(failure.code, "INVALID_REQUEST");
        assert!(!failure.retryable);
    }
    assert_eq!(stage.acts.load(Ordering::SeqCst), 0);
    stage.done().await;
}

/// Asks the broker for something that has to succeed.
async fn ask(client: &Client, subject: &str, body: Value) {
    let answer = client
        .request(subject.to_owned(), body.to_string().into())
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer.get("error"), None, "{subject}");
}

#[tokio::test]
async fn what_a_push_consumer_delivers_to_its_subject_is_not_acted_on() {
    let stage = Stage::set(Limits::default()).await;
    let other = stage.other().await;
    let stored = json!({ "name": "LOG", "subjects": ["log.>"] });
    ask(&other, "$JS.API.STREAM.CREATE.LOG", stored).await;
    let forged = serde_json::to_value(call("forged", "read")).unwrap();
    ask(&other, "log.forged", forged).await;
    let mut seen = other.subscribe("cp.skill.demo.orders").await.unwrap();
    let consumer = json!({ "stream_name": "LOG", "config": {
        "deliver_subject": "cp.skill.demo.orders",
        "deliver_group": "worker",
        "deliver_policy": "all",
        "ack_policy": "none",
    }});
    ask(&other, "$JS.API.CONSUMER.CREATE.LOG", consumer).await;
    let delivered = seen.next().await.unwrap();
    assert_eq!(delivered.subject.as_str(), "log.forged");
    assert!(delivered.reply.unwrap().starts_with("$JS.ACK."));

    // What is called now comes to the worker after what was delivered.
    stage.let_end(2);
    assert_eq!(stage.call("k", "read").await.unwrap(), output(1));
    assert_eq!(stage.acts.load(Ordering::SeqCst), 1);
    stage.done().await;
}

#[tokio::test]
async fn who_wants_the_answer_elsewhere_is_not_the_executor() {
    let stage = Stage::set(Limits::default()).await;
    let other = stage.other().await;
    let forged = serde_json::to_vec(&call("forged", "read")).unwrap();
    for reply_to in ["_INBOX.x", "_INBOX_executors.x"] {
        other
            .publish_with_reply("cp.skill.demo.orders", reply_to, forged.clone().into())
            .await
            .unwrap();
    }
    other.flush().await.unwrap();
    stage.let_end(3);
    assert_eq!(stage.call("k", "read").await.unwrap(), output(1));
    assert_eq!(stage.acts.load(Ordering::SeqCst), 1);
    stage.done().await;
}

#[tokio::test]
async fn another_caller_is_taken_where_the_worker_is_told_so() {
    let stage = Stage::set(Limits::default()).await;
    let other = stage.other().await;
    let worker = Worker::connect(&stage.server.url(), "worker", "secret", Limits::default())
        .await
        .unwrap()
        .called_from("_INBOX.");
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        let handler = |_: Call| async { Ok(json!({ "act": "told" })) };
        worker.serve("demo", "mail", handler, stopped).await
    });
    let body = serde_json::to_vec(&call("k", "read")).unwrap();
    let answer = loop {
        // Until the worker serves, the broker says at once that nobody is there.
        let asked = other.request("cp.skill.demo.mail", body.clone().into());
        match asked.await {
            Ok(answer) => break answer,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(
        Reply::decode(&answer.payload).unwrap(),
        Reply::Output(json!({ "act": "told" }))
    );
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    stage.done().await;
}

#[tokio::test]
async fn a_stopping_worker_answers_what_it_has_begun() {
    let mut stage = Stage::set(Limits::default()).await;
    let first = stage.call("k", "read");
    stage.begun.recv().await.unwrap();
    stage.stop.take().unwrap().send(()).unwrap();
    stage.let_end(1);
    assert_eq!(first.await.unwrap(), output(1));
    stage.serving.await.unwrap().unwrap();
    let late = stage
        .caller
        .request("cp.skill.demo.orders", "{}".into())
        .await;
    assert!(late.is_err(), "nobody serves any more");
}

#[tokio::test]
async fn two_workers_share_the_calls_of_a_skill() {
    let stage = Stage::set(Limits::default()).await;
    let second = Worker::connect(&stage.server.url(), "worker", "secret", Limits::default())
        .await
        .unwrap();
    let (starts, mut begun) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let handler = move |call: Call| {
            starts.send(call.idempotency_key).unwrap();
            async { Ok(json!({ "act": "second" })) }
        };
        let stopped = async {
            let _ = stopped.await;
        };
        second.serve("demo", "orders", handler, stopped).await
    });
    stage.let_end(1000);
    let mut sent = 0;
    while begun.try_recv().is_err() {
        stage.call(&format!("k{sent}"), "read").await.unwrap();
        sent += 1;
    }
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert!(
        stage.acts.load(Ordering::SeqCst) < sent,
        "no call is delivered to both"
    );
    stage.done().await;
}

#[tokio::test]
async fn a_wrong_password_is_said_with_what_to_check() {
    let stage = Stage::set(Limits::default()).await;
    let refused = Worker::connect(&stage.server.url(), "worker", "wrong", Limits::default()).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("as `worker`; check")
    );
    stage.done().await;
}

#[test]
fn only_the_four_answers_are_answers() {
    for (text, expected) in [
        (r#"{"output":null}"#, Reply::Output(Value::Null)),
        (
            r#"{"error":{"code":"C","message":"m","retryable":false}}"#,
            Reply::Error(Failure::permanent("C", "m")),
        ),
        (r#"{"inProgress":true}"#, Reply::InProgress(true)),
        (
            r#"{"accepted":{"expiresAt":"x"}}"#,
            Reply::Accepted(json!({ "expiresAt": "x" })),
        ),
    ] {
        let reply = Reply::decode(text.as_bytes()).unwrap();
        assert_eq!(reply, expected);
        assert_eq!(reply.encode().unwrap(), text);
    }
    for text in [
        "",
        "{}",
        "null",
        r#"{"output":1,"error":{"code":"C","message":"m","retryable":false}}"#,
        r#"{"error":{"code":"C"}}"#,
        r#"{"result":1}"#,
    ] {
        assert!(
            matches!(Reply::decode(text.as_bytes()), Err(InvalidReply::Body(_))),
            "{text}"
        );
    }
    assert!(matches!(
        Reply::decode(br#"{"inProgress":false}"#),
        Err(InvalidReply::NotInProgress)
    ));
}
