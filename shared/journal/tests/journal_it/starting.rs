//! What a service refuses to start with, and what it says then.

use journal::jetstream::{
    ConnectError, ConnectOptions, Difference, InstallOptions, Installed, JetStreamJournal, install,
};
use serde_json::{Value, json};
use testkit::{
    nats::{NatsServer, ServerOptions},
    stub::StubServer,
};

use crate::{
    samples::workspace,
    world::{World, count, make_streams},
};

async fn refusal(options: &ConnectOptions) -> ConnectError {
    match JetStreamJournal::connect(options).await {
        Ok(_) => panic!("this should have been refused"),
        Err(error) => error,
    }
}

/// What is done to a log with so many copies of each stream to which nothing is to be done.
pub fn as_it_has_to_be(replicas: u64) -> Installed {
    Installed {
        replicas,
        ..Installed::default()
    }
}

#[tokio::test]
async fn a_broker_that_is_too_old() {
    let stub = StubServer::announcing("2.10.29").await;
    let error = refusal(&ConnectOptions::new(stub.url(), "executor")).await;
    assert!(matches!(&error, ConnectError::TooOld { announced } if announced == "2.10.29"));
    let message = error.to_string();
    for part in [
        "2.10.29",
        "2.12",
        "install 2.15.1",
        "deploy/get-nats-server",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn a_broker_that_takes_small_messages_only() {
    let options = ServerOptions {
        config: "max_payload: 65536\n".to_owned(),
        ..ServerOptions::default()
    };
    let server = NatsServer::start(options).await;
    let error = refusal(&ConnectOptions::new(server.url(), "executor")).await;
    assert!(matches!(error, ConnectError::MessageLimit { found: 65536 }));
}

#[tokio::test]
async fn a_broker_that_is_not_there() {
    let url = {
        let stub = StubServer::announcing("2.15.1").await;
        stub.url()
    };
    let error = refusal(&ConnectOptions::new(&url, "executor")).await;
    assert!(matches!(&error, ConnectError::Connect { .. }));
    assert!(error.to_string().contains(&url));
}

#[tokio::test]
async fn a_log_that_was_not_installed() {
    let server = NatsServer::start(ServerOptions::default()).await;
    let options = ConnectOptions::new(server.url(), "executor");
    let error = refusal(&options).await;
    assert!(
        error.to_string().contains("controlplane install"),
        "{error}"
    );

    let wanted = || InstallOptions {
        inboxes: ["acme", "globex"].map(workspace).into(),
        ..InstallOptions::new(count(1))
    };
    let made = install(&options, wanted()).await.unwrap();
    assert_eq!(
        made.made,
        [
            "CONTROL_PLANE_CATALOGUE",
            "CONTROL_PLANE_00",
            "CONTROL_PLANE_ARCHIVE",
            "CONTROL_PLANE_TIMERS",
            "CONTROL_PLANE_OBJECTS",
            "CONTROL_PLANE_REFUSED",
            "CONTROL_PLANE_INBOX_acme",
            "CONTROL_PLANE_INBOX_globex",
        ]
    );
    assert_eq!(
        install(&options, wanted()).await.unwrap(),
        as_it_has_to_be(1)
    );
    assert!(JetStreamJournal::connect(&options).await.is_ok());
}

#[tokio::test]
async fn who_says_nothing_of_copies_takes_them_as_they_are() {
    let world = World::three_servers(1).await;
    let World::Three { cluster, .. } = &world else {
        panic!("three servers were asked for");
    };
    let options = ConnectOptions::new(cluster.url(), "installer");
    let asked = |replicas| InstallOptions {
        replicas,
        ..InstallOptions::new(count(1))
    };
    for replicas in [None, Some(3)] {
        let again = install(&options, asked(replicas)).await.unwrap();
        assert_eq!(again, as_it_has_to_be(3));
    }
    let Err(ConnectError::Settings(differences)) = install(&options, asked(Some(1))).await else {
        panic!("other copies were asked for");
    };
    let settings = differences.iter().map(|it| it.setting.as_str());
    assert!(settings.clone().count() > 0);
    assert!(settings.clone().all(|it| it == "num_replicas"));
}

#[tokio::test]
async fn another_number_of_streams() {
    let server = NatsServer::start(ServerOptions::default()).await;
    make_streams(&server.url(), 4, 1).await;
    for streams in [1, 2, 16] {
        let options = ConnectOptions::new(server.url(), "executor").streams(count(streams));
        let error = refusal(&options).await;
        assert!(
            matches!(&error, ConnectError::StreamCount { log, given } if log == "4" && *given == streams)
        );
        let wanted = InstallOptions::new(count(streams));
        let error = install(&options, wanted).await.unwrap_err();
        assert!(matches!(error, ConnectError::StreamCount { .. }));
    }
}

#[tokio::test]
async fn streams_that_were_changed_by_hand() {
    let world = World::one_server(1).await;
    let World::One { server, .. } = &world else {
        panic!("one server was asked for");
    };
    let client = server.client().await;
    let change = async |stream: &str, setting: &str, value: Value| {
        let subject = format!("$JS.API.STREAM.INFO.{stream}");
        let answer = client.request(subject, "".into()).await.unwrap();
        let mut info: Value = serde_json::from_slice(&answer.payload).unwrap();
        info["config"][setting] = value;
        let subject = format!("$JS.API.STREAM.UPDATE.{stream}");
        let config = info["config"].to_string();
        let answer = client.request(subject, config.into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(answer.get("error").is_none(), "{answer}");
    };
    change("CONTROL_PLANE_00", "max_age", json!(3_600_000_000_000_u64)).await;
    change(
        "CONTROL_PLANE_00",
        "republish",
        json!({ "src": ">", "dest": "events.>" }),
    )
    .await;
    change(
        "CONTROL_PLANE_CATALOGUE",
        "discard_new_per_subject",
        json!(false),
    )
    .await;
    change("CONTROL_PLANE_TIMERS", "allow_direct", json!(false)).await;

    let options = ConnectOptions::new(server.url(), "executor");
    let error = refusal(&options).await;
    let ConnectError::Settings(differences) = &error else {
        panic!("{error}");
    };
    let named: Vec<_> = differences
        .iter()
        .map(
            |Difference {
                 stream, setting, ..
             }| (stream.as_str(), setting.as_str()),
        )
        .collect();
    assert_eq!(
        named,
        [
            ("CONTROL_PLANE_CATALOGUE", "discard_new_per_subject"),
            ("CONTROL_PLANE_00", "max_age"),
            ("CONTROL_PLANE_00", "republish"),
            ("CONTROL_PLANE_TIMERS", "allow_direct"),
        ]
    );
    let message = error.to_string();
    assert!(
        message.contains("`CONTROL_PLANE_00` has max_age = 3600000000000 instead of 0"),
        "{message}"
    );
    let refused = install(&options, InstallOptions::new(count(1))).await;
    assert!(matches!(refused, Err(ConnectError::Settings(_))));
}

async fn settings(client: &async_nats::Client, stream: &str) -> Value {
    let subject = format!("$JS.API.STREAM.INFO.{stream}");
    let answer = client.request(subject, "".into()).await.unwrap();
    let info: Value = serde_json::from_slice(&answer.payload).unwrap();
    info["config"].clone()
}

/// On and off are both as they have to be, if whoever installed has said so.
#[tokio::test]
async fn republishing_is_turned_on_and_off_by_who_installs() {
    const LOG: [&str; 3] = [
        "CONTROL_PLANE_CATALOGUE",
        "CONTROL_PLANE_00",
        "CONTROL_PLANE_01",
    ];
    let server = NatsServer::start(ServerOptions::default()).await;
    let client = server.client().await;
    let options = ConnectOptions::new(server.url(), "executor").streams(count(2));
    let asked = |republish| InstallOptions {
        republish,
        ..InstallOptions::new(count(2))
    };
    let installed = install(&options, asked(Some(true))).await.unwrap();
    assert!(
        LOG.iter()
            .all(|stream| installed.made.contains(&(*stream).to_owned()))
    );
    assert!(installed.changed.is_empty());
    let ours = json!({ "src": "controlPlane.>", "dest": "events.>" });
    for stream in LOG {
        assert_eq!(settings(&client, stream).await["republish"], ours);
    }
    let timers = settings(&client, "CONTROL_PLANE_TIMERS").await;
    assert_eq!(timers["republish"], Value::Null);
    assert!(JetStreamJournal::connect(&options).await.is_ok());
    // As it is, where nothing is said, and where the same is said again.
    for same in [None, Some(true)] {
        let again = install(&options, asked(same)).await.unwrap();
        assert_eq!(again, as_it_has_to_be(1));
    }
    let off = install(&options, asked(Some(false))).await.unwrap();
    assert_eq!(off.changed, LOG);
    for stream in LOG {
        assert_eq!(settings(&client, stream).await["republish"], Value::Null);
    }
    assert!(JetStreamJournal::connect(&options).await.is_ok());
    let on = install(&options, asked(Some(true))).await.unwrap();
    assert_eq!(on.changed, LOG);

    // By hand it is neither turned off nor turned elsewhere.
    let mut changed = settings(&client, LOG[1]).await;
    for republish in [
        Value::Null,
        json!({ "src": "controlPlane.>", "dest": "public.>" }),
    ] {
        changed["republish"] = republish;
        let subject = format!("$JS.API.STREAM.UPDATE.{}", LOG[1]);
        let config = changed.to_string();
        let answer = client.request(subject, config.into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(answer.get("error").is_none(), "{answer}");
        let ConnectError::Settings(differences) = refusal(&options).await else {
            panic!("another fault was expected");
        };
        let named: Vec<_> = differences
            .iter()
            .map(|it| (it.stream.as_str(), it.setting.as_str()))
            .collect();
        assert_eq!(named, [(LOG[1], "republish")]);
    }
}
