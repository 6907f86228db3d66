//! What a service refuses to start with, and what it says then.

use journal::jetstream::{
    ConnectError, ConnectOptions, Difference, InstallOptions, JetStreamJournal, install,
};
use serde_json::{Value, json};
use testkit::{
    nats::{NatsServer, ServerOptions},
    stub::StubServer,
};

use crate::world::{World, count, make_streams};

async fn refusal(options: &ConnectOptions) -> ConnectError {
    match JetStreamJournal::connect(options).await {
        Ok(_) => panic!("this should have been refused"),
        Err(error) => error,
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

    let wanted = InstallOptions {
        streams: count(1),
        replicas: 1,
    };
    let made = install(&options, wanted).await.unwrap();
    assert_eq!(
        made,
        [
            "CONTROL_PLANE_CATALOGUE",
            "CONTROL_PLANE_00",
            "CONTROL_PLANE_TIMERS",
            "CONTROL_PLANE_OBJECTS",
        ]
    );
    assert!(install(&options, wanted).await.unwrap().is_empty());
    assert!(JetStreamJournal::connect(&options).await.is_ok());
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
        let wanted = InstallOptions {
            streams: count(streams),
            replicas: 1,
        };
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
    let wanted = InstallOptions {
        streams: count(1),
        replicas: 1,
    };
    let refused = install(&options, wanted).await;
    assert!(matches!(refused, Err(ConnectError::Settings(_))));
}
