//! The accounts of callers: what they name as a reply leads nowhere else, and the inbox says what it
//! keeps.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use contracts::event::EventName;
use futures::StreamExt as _;
use journal::{
    Journal,
    delivery::Message,
    jetstream::{ConnectError, Inbox, install},
    permissions::{ACROSS_ACCOUNTS, CALLER_INBOX_PREFIX, caller_name},
    request::{Reply, skill_subject},
};
use serde_json::{Value, json};
use testkit::{
    guest::Guest,
    nats::{DATA_DIRECTORY, NatsServer, ServerOptions},
};

use crate::{
    permitted::{
        SKILL, acme, broker, connect, empty_broker, event_subject, guest, options_of, wanted,
    },
    starting::as_it_has_to_be,
    world::soon,
};

async fn calling(server: &NatsServer, user: &str) -> Guest {
    let password = format!("{user}-password");
    Guest::connect(&server.url(), user, &password, CALLER_INBOX_PREFIX).await
}

#[tokio::test]
async fn a_caller_asks_in_its_own_name_and_nothing_else() {
    let server = broker().await;
    let ada = "ada".parse().unwrap();
    let user = caller_name(&acme(), &ada);
    let mut caller = calling(&server, &user).await;
    let own = "cp.api.acme.ada.intent.submit".to_owned();
    assert!(caller.may_publish(&own).await);
    assert!(caller.may_publish("cp.inbox.acme.ada").await);
    let mut subjects: Vec<_> = EventName::ALL.into_iter().map(event_subject).collect();
    subjects.extend([
        "cp.api.acme.bob.intent.submit".to_owned(),
        "cp.inbox.acme.bob".to_owned(),
        "cp.inbox.acme.ada.x".to_owned(),
        "cp.inbox.globex.ada".to_owned(),
        "cp.refused.acme.ada.1".to_owned(),
        "cp.api.acme.adam.intent.submit".to_owned(),
        "cp.api.globex.ada.intent.submit".to_owned(),
        "cp.api.acme.ada".to_owned(),
        "cp.timer.arm.executor.x".to_owned(),
        "cp.object.x".to_owned(),
        skill_subject(&acme(), SKILL),
        "$JS.API.STREAM.MSG.GET.CONTROL_PLANE_00".to_owned(),
        "$JS.API.DIRECT.GET.CONTROL_PLANE_00".to_owned(),
        "$SRV.INFO".to_owned(),
        "_INBOX.x".to_owned(),
        "_INBOX_intake.x".to_owned(),
    ]);
    for subject in subjects {
        assert!(!caller.may_publish(&subject).await, "{subject}");
    }
    assert!(caller.may_subscribe("_INBOX.x").await);
    for subject in [
        "cp.api.>",
        "cp.api.acme.ada.>",
        "controlPlane.>",
        "events.>",
        "$SRV.>",
        "_INBOX_intake.>",
        "_R_.>",
        ">",
    ] {
        assert!(!caller.may_subscribe(subject).await, "{subject}");
    }
}

/// Where a caller may want an answer that is not its own.
fn elsewhere() -> Vec<String> {
    let mut subjects = vec![
        event_subject(EventName::IntentReceived),
        event_subject(EventName::PolicyActivated),
        "cp.inbox.acme.bob".to_owned(),
        "cp.refused.acme.bob.1".to_owned(),
        "cp.api.acme.bob.intent.submit".to_owned(),
        skill_subject(&acme(), SKILL),
        "$JS.API.STREAM.DELETE.CONTROL_PLANE_00".to_owned(),
    ];
    subjects.extend(["_INBOX.bobs", "_INBOX_executor.x"].map(str::to_owned));
    subjects
}

/// The service may store what the caller may not: an answer goes to the caller's account, in which
/// there is nothing but its own, whatever it is called there.
#[tokio::test]
async fn a_caller_does_not_choose_where_an_answer_is_stored() {
    let server = broker().await;
    let intake = connect(&server, "intake").await;
    let mut requests = intake.serve("cp.api.>", "intake").await.unwrap();
    let caller = calling(&server, "acme.ada").await;
    let bob = calling(&server, "acme.bob").await;
    let mut heard_by_bob = bob.client.subscribe("_INBOX.bobs").await.unwrap();
    bob.client.flush().await.unwrap();
    let subject = "cp.api.acme.ada.intent.submit";
    let answer = || Reply {
        headers: Vec::new(),
        payload: Bytes::from_static(b"done"),
    };
    for reply in elsewhere() {
        let asking = caller.client.publish_with_reply(subject, reply, "x".into());
        asking.await.unwrap();
        let asked = soon(requests.next()).await.unwrap();
        assert_eq!(asked.subject, subject);
        assert!(asked.reply.as_ref().unwrap().starts_with(ACROSS_ACCOUNTS));
        asked.respond(answer()).await.unwrap();
    }
    let asking = caller.client.request(subject, "x".into());
    let answering = async {
        let request = soon(requests.next()).await.unwrap();
        // None of the answers before was a request, to this caller's own or another's.
        assert_eq!(request.subject, subject);
        request.respond(answer()).await.unwrap();
    };
    let (answered, ()) = tokio::join!(asking, answering);
    assert_eq!(answered.unwrap().payload, "done");
    for stream in intake.streams() {
        assert_eq!(intake.last_sequence(stream).await.unwrap(), 0);
    }
    // It hears what is its own, and before it there was nothing.
    let asking = bob.client.publish_with_reply(
        "cp.api.acme.bob.intent.submit",
        "_INBOX.bobs",
        "bob's".into(),
    );
    asking.await.unwrap();
    let asked = soon(requests.next()).await.unwrap();
    asked.respond(answer()).await.unwrap();
    let heard = soon(heard_by_bob.next()).await.unwrap();
    assert_eq!(heard.payload, "done");
}

/// What is published to the inbox is acknowledged by the broker itself, with every right.
#[tokio::test]
async fn nor_does_it_where_it_publishes() {
    let server = broker().await;
    let intake = connect(&server, "intake").await;
    let caller = calling(&server, "acme.ada").await;
    let subject = "cp.inbox.acme.ada";
    let elsewhere = elsewhere();
    let sent = elsewhere.len();
    for reply in elsewhere {
        let sending = caller.client.publish_with_reply(subject, reply, "x".into());
        sending.await.unwrap();
    }
    caller.client.publish(subject, "last".into()).await.unwrap();
    let inbox = Inbox::open(&options_of(&server, "intake"), acme())
        .await
        .unwrap();
    let mut letters = inbox.letters(Duration::from_secs(15), 16).await.unwrap();
    let mut subjects = Vec::new();
    while subjects.len() <= sent {
        let delivery = soon(letters.next()).await;
        let Message::Letter { raw, .. } = delivery.message.as_ref() else {
            panic!("{delivery:?}");
        };
        subjects.push(raw.subject.clone());
    }
    assert_eq!(subjects, vec![subject; sent + 1]);
    for stream in intake.streams() {
        assert_eq!(intake.last_sequence(stream).await.unwrap(), 0);
    }
}

/// What is acknowledged is kept; what is not taken is told with its reason.
#[tokio::test]
async fn the_inbox_acknowledges_what_it_keeps() {
    let server = broker().await;
    let caller = calling(&server, "acme.ada").await;
    let publishing = async_nats::jetstream::new(caller.client);
    let subject = "cp.inbox.acme.ada";
    let kept = publishing.publish(subject, "x".into()).await.unwrap();
    assert_eq!(soon(kept.into_future()).await.unwrap().sequence, 1);
    let too_large = vec![b'x'; 128 * 1024 + 1];
    let refused = publishing.publish(subject, too_large.into()).await.unwrap();
    let error = soon(refused.into_future()).await.unwrap_err();
    assert!(
        error.to_string().contains("message size exceeds"),
        "{error}"
    );
    for _ in 1..1_000 {
        let kept = publishing.publish(subject, "x".into()).await.unwrap();
        soon(kept.into_future()).await.unwrap();
    }
    let refused = publishing.publish(subject, "x".into()).await.unwrap();
    let error = soon(refused.into_future()).await.unwrap_err();
    assert!(error.to_string().contains("maximum messages"), "{error}");
}

/// Whatever a caller expects in its headers, and whatever number its message has: it learns the same
/// whether or not anything waits for another workspace.
#[tokio::test]
async fn the_inbox_of_another_workspace_cannot_be_felt() {
    let mut learnt = Vec::new();
    for is_busy in [false, true] {
        let server = broker().await;
        if is_busy {
            let ada = async_nats::jetstream::new(calling(&server, "acme.ada").await.client);
            for id in ["one", "two", "three"] {
                let headers = headers(&[("Nats-Msg-Id", id)]);
                let kept = ada.publish_with_headers("cp.inbox.acme.ada", headers, "x".into());
                soon(kept.await.unwrap().into_future()).await.unwrap();
            }
        }
        let eve = calling(&server, "globex.eve").await;
        let mut answers = Vec::new();
        for expected in [
            &[("Nats-Msg-Id", "three")][..],
            &[("Nats-Expected-Last-Msg-Id", "three")],
            &[("Nats-Expected-Last-Msg-Id", "four")],
            &[("Nats-Expected-Last-Sequence", "3")],
            &[("Nats-Expected-Last-Sequence", "4")],
            &[("Nats-Expected-Stream", "CONTROL_PLANE_INBOX_acme")],
            &[("Nats-Expected-Stream", "CONTROL_PLANE_INBOX_nobody")],
            &[
                ("Nats-Expected-Last-Subject-Sequence", "0"),
                (
                    "Nats-Expected-Last-Subject-Sequence-Subject",
                    "cp.inbox.acme.ada",
                ),
            ],
            &[
                ("Nats-Expected-Last-Subject-Sequence", "3"),
                (
                    "Nats-Expected-Last-Subject-Sequence-Subject",
                    "cp.inbox.*.*",
                ),
            ],
            &[],
        ] {
            let headers = headers(expected);
            let asking =
                eve.client
                    .request_with_headers("cp.inbox.globex.eve", headers, "x".into());
            let answer = soon(asking).await.unwrap();
            answers.push(String::from_utf8(answer.payload.to_vec()).unwrap());
        }
        learnt.push(answers);
    }
    assert_eq!(learnt[0], learnt[1]);
    // It is the broker that answers, and some of it was taken.
    let all = learnt[0].join("\n");
    assert!(all.contains("CONTROL_PLANE_INBOX_globex"), "{all}");
    assert!(all.contains("error"), "{all}");
    assert!(!all.contains("acme"), "{all}");
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(*name, *value);
    }
    headers
}

/// Older logs have one inbox for all workspaces. What waits there is not left behind.
#[tokio::test]
async fn an_inbox_that_workspaces_shared_gives_way_once_it_is_empty() {
    let server = empty_broker().await;
    let installer = guest(&server, "installer").await;
    let asks = async |operation: &str, request: Value| -> Value {
        let subject = format!("$JS.API.STREAM.{operation}.CONTROL_PLANE_INBOX");
        let payload = serde_json::to_vec(&request).unwrap();
        let answer = installer.client.request(subject, payload.into()).await;
        serde_json::from_slice(&answer.unwrap().payload).unwrap()
    };
    let settings = json!({
        "name": "CONTROL_PLANE_INBOX", "subjects": ["cp.inbox.>"], "retention": "workqueue",
        "no_ack": true, "max_bytes": 1_000_000, "discard": "new",
    });
    assert_eq!(asks("CREATE", settings).await.get("error"), None);
    let caller = calling(&server, "acme.ada").await;
    caller
        .client
        .publish("cp.inbox.acme.ada", "x".into())
        .await
        .unwrap();
    caller.client.flush().await.unwrap();
    let options = options_of(&server, "installer");
    let refused = install(&options, wanted()).await;
    assert!(
        matches!(refused, Err(ConnectError::SharedInbox { waiting: 1 })),
        "{refused:?}"
    );
    // It takes as before, for who takes from it.
    let found = asks("INFO", Value::Null).await;
    assert_eq!(found["config"]["subjects"], json!(["cp.inbox.>"]));
    let mut settings = found["config"].clone();
    settings["max_age"] = json!(100_000_000);
    settings["duplicate_window"] = json!(100_000_000);
    assert_eq!(asks("UPDATE", settings).await.get("error"), None);
    let done = loop {
        match install(&options, wanted()).await {
            Ok(done) => break done,
            Err(error) => assert!(matches!(error, ConnectError::SharedInbox { waiting: 1 })),
        }
    };
    assert_eq!(done.removed, ["CONTROL_PLANE_INBOX"]);
    assert!(done.made.contains(&"CONTROL_PLANE_INBOX_acme".to_owned()));
    let again = install(&options, wanted()).await;
    assert_eq!(again.unwrap(), as_it_has_to_be(1));
    let publishing = async_nats::jetstream::new(caller.client);
    let kept = publishing.publish("cp.inbox.acme.ada", "x".into()).await;
    assert_eq!(
        soon(kept.unwrap().into_future()).await.unwrap().stream,
        "CONTROL_PLANE_INBOX_acme"
    );
}

/// Where all users share one account, a caller says where its acknowledgement is stored.
#[tokio::test]
async fn on_a_broker_with_one_account_for_all_nothing_is_installed() {
    for permissions in ["", "permissions: { publish: \"$JS.API.>\" }"] {
        let config = format!(
            "listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{DATA_DIRECTORY}\" }}\n\
             authorization {{ users: [ {{ user: installer, password: installer-password, \
             {permissions} }} ] }}\n"
        );
        let options = ServerOptions {
            config,
            sync_always: false,
        };
        let server = NatsServer::start(options).await;
        let refused = install(&options_of(&server, "installer"), wanted()).await;
        assert!(
            matches!(refused, Err(ConnectError::OneAccount)),
            "{refused:?}"
        );
    }
}
