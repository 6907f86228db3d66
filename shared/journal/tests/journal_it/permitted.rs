//! The generated broker configuration: each user can do all that is its own, and nothing else.

use std::time::Duration;

use bytes::Bytes;
use contracts::{
    event::{EventName, Service},
    ids::{ExecutionId, WorkspaceId},
    position::Positions,
    registry::asyncapi,
    subject::AggregateId,
};
use futures::StreamExt as _;
use journal::{
    Journal,
    append::AppendError,
    archive::Purged,
    broker::{Durability, ServerConfig, User},
    delivery::{ConsumerSpec, on_executions, wakes},
    history::Read,
    jetstream::{Archiver, ConnectOptions, InstallOptions, JetStreamJournal, install},
    permissions::{self, OPERATOR, Permissions, caller_name, inbox_prefix},
    request::{Reply, Request, skill_subject},
    tail::Scope,
    timer::Timer,
};
use serde_json::Value;
use testkit::{
    guest::Guest,
    nats::{DATA_DIRECTORY, NatsServer, ServerOptions},
};
use uuid::Uuid;

use crate::{
    samples::{KINDS, execution, sealed, workspace},
    world::{WINDOW, count, live, now, soon},
};

const STREAMS: u8 = 2;
pub const SKILL: &str = "refunds";

pub fn acme() -> WorkspaceId {
    workspace("acme")
}

pub fn globex() -> WorkspaceId {
    workspace("globex")
}

pub async fn broker() -> NatsServer {
    let server = empty_broker().await;
    install(&options_of(&server, "installer"), wanted())
        .await
        .unwrap();
    server
}

/// With its users, and no stream.
pub async fn empty_broker() -> NatsServer {
    let streams = count(STREAMS);
    let user = |name: &str, permissions: Permissions| User {
        name: name.to_owned(),
        password: format!("{name}-password"),
        permissions,
    };
    let inboxes = wanted().inboxes;
    let mut users: Vec<_> = Service::ALL
        .into_iter()
        .map(|service| {
            let permissions = permissions::for_service(service, streams, &inboxes);
            user(service.as_str(), permissions)
        })
        .collect();
    users.push(user("worker", permissions::worker(&acme(), [SKILL])));
    users.push(user("installer", permissions::installer("installer")));
    users.push(user(OPERATOR, permissions::reader(streams)));
    users.push(user("archiver", permissions::archiver("archiver", streams)));
    for (name, of) in [("events-reader", Some(acme())), ("events-of-all", None)] {
        users.push(user(name, permissions::events_reader(of.as_ref())));
    }
    let callers = [(acme(), "ada"), (acme(), "bob"), (globex(), "eve")];
    let callers = callers.map(|(workspace, id)| {
        let id = id.parse().unwrap();
        let password = format!("{}-password", caller_name(&workspace, &id));
        User::caller(&workspace, &id, password)
    });
    let config = ServerConfig {
        listen: "127.0.0.1:-1".to_owned(),
        data_directory: DATA_DIRECTORY.to_owned(),
        durability: Durability::Disk,
        tls: None,
        users,
        callers: callers.into(),
    };
    let options = ServerOptions {
        config: config.render(),
        sync_always: false,
    };
    NatsServer::start(options).await
}

pub fn wanted() -> InstallOptions {
    InstallOptions {
        inboxes: [acme(), globex()].into(),
        archive_window: WINDOW,
        ..InstallOptions::new(count(STREAMS))
    }
}

pub fn options_of(server: &NatsServer, user: &str) -> ConnectOptions {
    ConnectOptions::new(server.url(), user)
        .credentials(user, format!("{user}-password"))
        .streams(count(STREAMS))
}

pub async fn connect(server: &NatsServer, user: &str) -> JetStreamJournal {
    JetStreamJournal::connect(&options_of(server, user))
        .await
        .unwrap()
}

/// A client of this user, which tries things that the journal would not.
pub async fn guest(server: &NatsServer, user: &str) -> Guest {
    let password = format!("{user}-password");
    Guest::connect(&server.url(), user, &password, &inbox_prefix(user)).await
}

pub fn event_subject(event: EventName) -> String {
    let kind = event.aggregate().as_str();
    format!("controlPlane.acme.{kind}.2a.some-id.1.{event}")
}

#[tokio::test]
async fn a_service_writes_its_own_events_and_no_others() {
    let server = broker().await;
    for service in Service::ALL {
        let mut intruder = guest(&server, service.as_str()).await;
        for event in EventName::ALL {
            let own = event.writers().contains(&service);
            let may = intruder.may_publish(&event_subject(event)).await;
            assert_eq!(may, own, "{service} and {event}");
        }
        for event in ["invented", "intent.received.v2"] {
            let subject = format!("controlPlane.acme.execution.2a.some-id.1.{event}");
            assert!(
                !intruder.may_publish(&subject).await,
                "{service} and {event}"
            );
        }
    }
}

#[tokio::test]
async fn a_service_can_do_nothing_that_is_anothers() {
    let server = broker().await;
    for service in Service::ALL {
        let mut intruder = guest(&server, service.as_str()).await;
        let mut forbidden = vec![
            "$JS.API.STREAM.CREATE.MINE".to_owned(),
            "$JS.API.STREAM.UPDATE.CONTROL_PLANE_00".to_owned(),
            "$JS.API.STREAM.DELETE.CONTROL_PLANE_00".to_owned(),
            "$JS.API.STREAM.PURGE.CONTROL_PLANE_00".to_owned(),
            "$JS.API.STREAM.MSG.DELETE.CONTROL_PLANE_00".to_owned(),
            "$JS.API.CONSUMER.CREATE.CONTROL_PLANE_00.mine".to_owned(),
            "$JS.API.CONSUMER.DURABLE.CREATE.CONTROL_PLANE_00.mine".to_owned(),
            format!("cp.timer.due.{service}.acme.execution.2a.some-id.x"),
            "cp.api.acme.ada.intent.submit".to_owned(),
            "_INBOX_stranger.x".to_owned(),
            "events.x".to_owned(),
            "$JS.API.STREAM.MSG.DELETE.CONTROL_PLANE_INBOX_other".to_owned(),
            "$JS.API.STREAM.PURGE.CONTROL_PLANE_ARCHIVE".to_owned(),
            "cp.archive.acme.execution.2a.some-id.1".to_owned(),
            "cp.sealed.CONTROL_PLANE_00.0".to_owned(),
        ];
        if service != Service::Intake {
            forbidden.extend([
                "$JS.API.CONSUMER.CREATE.CONTROL_PLANE_INBOX_acme.intake-inbox".to_owned(),
                "$JS.API.CONSUMER.MSG.NEXT.CONTROL_PLANE_INBOX_acme.intake-inbox".to_owned(),
                "$JS.API.STREAM.MSG.GET.CONTROL_PLANE_INBOX_acme".to_owned(),
                "$JS.API.STREAM.MSG.DELETE.CONTROL_PLANE_INBOX_acme".to_owned(),
            ]);
        }
        for other in Service::ALL.into_iter().filter(|other| *other != service) {
            forbidden.extend([
                format!("$JS.API.CONSUMER.CREATE.CONTROL_PLANE_00.{other}-drive"),
                format!("$JS.API.CONSUMER.DELETE.CONTROL_PLANE_00.{other}-drive"),
                format!("$JS.API.CONSUMER.MSG.NEXT.CONTROL_PLANE_00.{other}-drive"),
                format!("$JS.ACK.CONTROL_PLANE_00.{other}-drive.1.1.1.1.0"),
                format!("_INBOX_{other}.x"),
            ]);
        }
        if service != Service::Executor {
            forbidden.push(skill_subject(&acme(), SKILL));
        }
        let wakes_itself = !matches!(service, Service::Intake | Service::Projector);
        for other in Service::ALL {
            if other != service || !wakes_itself {
                forbidden.push(format!("cp.timer.arm.{other}.acme.execution.2a.some-id.x"));
            }
        }
        for subject in forbidden {
            assert!(
                !intruder.may_publish(&subject).await,
                "{service} and {subject}"
            );
        }
        for subject in [
            "controlPlane.>",
            "_INBOX_stranger.>",
            "cp.skill.>",
            "$JS.>",
            ">",
        ] {
            assert!(
                !intruder.may_subscribe(subject).await,
                "{service} and {subject}"
            );
        }
    }
}

#[tokio::test]
async fn a_service_can_do_all_that_is_its_own() {
    let server = broker().await;
    for service in Service::ALL {
        let journal = connect(&server, service.as_str()).await;
        let aggregate = execution();
        let own = KINDS
            .into_iter()
            .find(|kind| kind.writers().contains(&service));
        if service == Service::Intake {
            // It alone asks that.
            journal.waiting().await.unwrap();
        }
        if let Some(kind) = own {
            let large = "x".repeat(400_000);
            let (envelope, recorded) = sealed(&aggregate, None, kind, &large);
            journal.append(&envelope).await.unwrap();
            let stored = journal.load(&aggregate, Read::Confirmed).await.unwrap();
            assert_eq!(stored[0].1, recorded);
        }
        let foreign = KINDS
            .into_iter()
            .find(|kind| !kind.writers().contains(&service))
            .unwrap();
        let (envelope, _) = sealed(&execution(), None, foreign, "");
        // At once, not when patience ends.
        let refused = tokio::time::timeout(Duration::from_secs(1), journal.append(&envelope)).await;
        assert!(matches!(refused.unwrap(), Err(AppendError::Refused { .. })));

        if matches!(
            service,
            Service::Planner | Service::Verifier | Service::Executor
        ) {
            for (purpose, _) in wakes(service) {
                let spec = ConsumerSpec::of(service, *purpose);
                soon(journal.consume(spec).await.unwrap().stop())
                    .await
                    .unwrap();
            }
            let mut timers = journal
                .consume(ConsumerSpec::timers(service))
                .await
                .unwrap();
            let timer = Timer {
                service,
                aggregate: aggregate.clone(),
                key: "x".to_owned(),
                version: 1,
                due: now(),
                after_ms: 0,
                wake: None,
                stays: false,
            };
            journal.arm(&timer).await.unwrap();
            soon(timers.next()).await.handle.ack().await.unwrap();
        }
        for stream in journal.streams() {
            journal.last_sequence(stream).await.unwrap();
            journal.read(stream, 0, 10).await.unwrap();
        }
        assert!(journal.head(&execution()).await.unwrap().is_none());
        let beginning = Positions::beginning();
        let mut tail = journal.tail(&beginning, Scope::Everything).await.unwrap();
        soon(tail.next()).await;
        journal.close().await;
    }
}

#[tokio::test]
async fn a_reader_reads_and_writes_nothing() {
    let server = broker().await;
    let intake = connect(&server, "intake").await;
    let aggregate = execution();
    let (envelope, _) = sealed(&aggregate, None, EventName::Paused, "");
    intake.append(&envelope).await.unwrap();
    let reader = connect(&server, OPERATOR).await;
    assert_eq!(
        reader
            .load(&aggregate, Read::Confirmed)
            .await
            .unwrap()
            .len(),
        1
    );
    let beginning = Positions::beginning();
    let mut tail = reader.tail(&beginning, Scope::Everything).await.unwrap();
    soon(tail.next()).await;
    let mut intruder = guest(&server, OPERATOR).await;
    for event in EventName::ALL {
        assert!(!intruder.may_publish(&event_subject(event)).await);
    }
}

/// With what they may, services write and read, and the archiver archives and purges.
#[tokio::test]
async fn an_archiver_archives_and_writes_no_event() {
    let server = broker().await;
    let intake = connect(&server, "intake").await;
    let aggregate = execution();
    let stream = intake.stream_count().stream_of(&aggregate);
    let mut head = None;
    for _ in 0..=WINDOW.get() {
        let (envelope, recorded) = sealed(&aggregate, head.as_ref(), EventName::Paused, "");
        intake.append(&envelope).await.unwrap();
        head = Some(recorded.head());
    }
    let mut consuming = Vec::new();
    for (service, purpose, event) in on_executions() {
        let spec = ConsumerSpec::events(service, purpose, [event]);
        let service = connect(&server, service.as_str()).await;
        let mut deliveries = service.consume(spec).await.unwrap();
        if event == EventName::Paused {
            for _ in 0..=WINDOW.get() {
                let delivery = soon(deliveries.next()).await;
                delivery.handle.ack().await.unwrap();
            }
        }
        consuming.push(deliveries);
    }
    let options = options_of(&server, "archiver");
    let archiver = Archiver::connect(&options, live(1)).await.unwrap();
    let sealing = archiver.open(stream, 0).await.unwrap();
    sealing.seal().await.unwrap();
    let verified = archiver.verify(stream, 0).await.unwrap();
    let purged = archiver.purge(verified).await.unwrap();
    assert_eq!(purged, Purged::UpTo(WINDOW.get()));
    // Whoever reads the log reads its archive.
    for user in [
        "intake",
        "planner",
        "executor",
        "projector",
        OPERATOR,
        "archiver",
    ] {
        let reader = connect(&server, user).await;
        let loaded = reader.load(&aggregate, Read::Confirmed).await.unwrap();
        assert_eq!(loaded.len() as u64, WINDOW.get() + 1);
        assert_eq!(reader.read(stream, 0, 3).await.unwrap().len(), 3);
    }
    let mut intruder = guest(&server, "archiver").await;
    let mut subjects: Vec<_> = EventName::ALL.into_iter().map(event_subject).collect();
    subjects.extend(
        [
            "$JS.API.STREAM.PURGE.CONTROL_PLANE_ARCHIVE",
            "$JS.API.STREAM.PURGE.CONTROL_PLANE_CATALOGUE",
            "$JS.API.STREAM.PURGE.CONTROL_PLANE_TIMERS",
            "$JS.API.STREAM.UPDATE.CONTROL_PLANE_00",
            "$JS.API.STREAM.DELETE.CONTROL_PLANE_00",
            "$JS.API.STREAM.MSG.DELETE.CONTROL_PLANE_00",
            "$JS.API.STREAM.MSG.DELETE.CONTROL_PLANE_ARCHIVE",
            "$JS.API.CONSUMER.DELETE.CONTROL_PLANE_00.executor-drive-plan-verified",
            "$JS.ACK.CONTROL_PLANE_00.executor-drive-plan-verified.1.1.1.1.0",
            "cp.timer.arm.executor.acme.execution.2a.some-id.x",
            "cp.api.acme.ada.intent.submit",
            "cp.object.x",
        ]
        .map(str::to_owned),
    );
    for subject in subjects {
        assert!(!intruder.may_publish(&subject).await, "{subject}");
    }
}

#[tokio::test]
async fn a_worker_answers_and_nothing_else() {
    let server = broker().await;
    let own = skill_subject(&acme(), SKILL);
    let mut worker = guest(&server, "worker").await;
    assert!(worker.may_subscribe(&own).await);
    for subject in [
        skill_subject(&acme(), "another"),
        skill_subject(&workspace("globex"), SKILL),
        "cp.skill.>".to_owned(),
        "cp.api.>".to_owned(),
        "controlPlane.>".to_owned(),
        "_INBOX_executor.>".to_owned(),
    ] {
        assert!(!worker.may_subscribe(&subject).await, "{subject}");
    }
    let mut subjects: Vec<_> = EventName::ALL.into_iter().map(event_subject).collect();
    subjects.extend([
        own.clone(),
        "cp.timer.arm.executor.x".to_owned(),
        "cp.object.x".to_owned(),
        "$JS.API.INFO".to_owned(),
        "_INBOX_executor.x".to_owned(),
    ]);
    for subject in subjects {
        assert!(!worker.may_publish(&subject).await, "{subject}");
    }

    let mut calls = worker.client.subscribe(own.clone()).await.unwrap();
    worker.client.flush().await.unwrap();
    let executor = connect(&server, "executor").await;
    let asking = executor.request(Request {
        subject: own,
        headers: Vec::new(),
        payload: Bytes::from_static(b"order 7"),
        timeout: Duration::from_secs(10),
        apart: false,
    });
    let answering = async {
        let call = soon(calls.next()).await.unwrap();
        worker
            .client
            .publish(call.reply.unwrap(), "done".into())
            .await
            .unwrap();
    };
    let (reply, ()) = tokio::join!(asking, answering);
    assert_eq!(
        reply.unwrap(),
        Reply {
            headers: Vec::new(),
            payload: Bytes::from_static(b"done"),
        }
    );
}

#[tokio::test]
async fn an_events_reader_hears_its_workspace_and_says_nothing() {
    let server = broker().await;
    let on = InstallOptions {
        republish: Some(true),
        ..InstallOptions::new(count(STREAMS))
    };
    let changed = install(&options_of(&server, "installer"), on)
        .await
        .unwrap();
    assert_eq!(changed.changed.len(), usize::from(STREAMS) + 1);
    let mut reader = guest(&server, "events-reader").await;
    let mut all = guest(&server, "events-of-all").await;
    let mut heard = reader.client.subscribe("events.acme.>").await.unwrap();
    let mut of_all = all.client.subscribe("events.>").await.unwrap();
    for intruder in [&reader, &all] {
        intruder.client.flush().await.unwrap();
    }
    let intake = connect(&server, "intake").await;
    let mut stored = Vec::new();
    for name in ["globex", "acme", "global", "acme"] {
        let aggregate = AggregateId::execution(workspace(name), ExecutionId::of(Uuid::new_v4()));
        let (envelope, _) = sealed(&aggregate, None, EventName::Paused, "x");
        intake.append(&envelope).await.unwrap();
        stored.push((name, envelope));
    }
    let described = asyncapi::document();
    let described = described.pointer("/components/schemas/EventHeaders/properties");
    let described = described.and_then(Value::as_object).unwrap();
    for (name, envelope) in &stored {
        let mut subscribers = vec![&mut of_all];
        if *name == "acme" {
            subscribers.push(&mut heard);
        }
        for subscriber in subscribers {
            let message = soon(subscriber.next()).await.unwrap();
            let subject = envelope.subject.to_string();
            let expected = subject.replacen("controlPlane.", "events.", 1);
            assert!(expected.starts_with(&format!("events.{name}.execution.")));
            assert_eq!(message.subject.as_str(), expected);
            assert_eq!(message.payload, envelope.payload);
            let headers = message.headers.unwrap();
            for (name, value) in envelope.headers.iter() {
                assert_eq!(headers.get(name).unwrap().as_str(), value);
            }
            assert_eq!(headers.get("Nats-Subject").unwrap().as_str(), subject);
            for name in described.keys().filter(|name| name.starts_with("Nats-")) {
                assert!(headers.get(name.as_str()).is_some(), "{name}");
            }
        }
    }
    let mut subjects: Vec<_> = EventName::ALL.into_iter().map(event_subject).collect();
    subjects.extend(
        [
            "events.acme.x",
            "cp.api.acme.ada.intent.submit",
            "cp.timer.arm.executor.x",
            "cp.object.x",
            "$JS.API.INFO",
            "$JS.API.STREAM.MSG.GET.CONTROL_PLANE_00",
            "_INBOX_events-reader.x",
        ]
        .map(str::to_owned),
    );
    for subject in subjects {
        assert!(!reader.may_publish(&subject).await, "{subject}");
        assert!(!all.may_publish(&subject).await, "{subject}");
    }
    for subject in ["events.>", "events.globex.>", "events.*.execution.>", ">"] {
        assert!(!reader.may_subscribe(subject).await, "{subject}");
    }
    for subject in ["controlPlane.>", "cp.>", "$JS.>", "_INBOX.>", ">"] {
        assert!(!all.may_subscribe(subject).await, "{subject}");
    }
}
