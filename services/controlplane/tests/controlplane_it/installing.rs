//! Streams are made by `install` only; and a control plane on a broker that is run by others.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use testkit::{
    nats::{NatsServer, ServerOptions},
    process::Process,
};

use crate::world::{STOP_WITHIN, World, command, directory, type_in};

#[tokio::test]
async fn install_makes_what_is_missing_and_refuses_what_differs() {
    let server = NatsServer::start(ServerOptions::default()).await;
    let url = server.url();
    let directory = directory();
    let principals = directory.path().join("principals.json");
    let held = serde_json::json!({
        "id": "ada", "type": "user", "workspace": "acme", "roles": ["submitter"], "grants": [],
        "tokenHash": "0".repeat(64),
    });
    fs::write(
        &principals,
        serde_json::json!({ "principals": [held] }).to_string(),
    )
    .unwrap();
    let install = |streams: &str| {
        type_in(&[
            "install",
            "--json",
            "--nats-url",
            &url,
            "--streams",
            streams,
            "--principals",
            principals.to_str().unwrap(),
        ])
    };
    let first = install("2");
    assert_eq!(first.code, 0, "{}", first.err);
    let report: serde_json::Value = serde_json::from_str(&first.out).unwrap();
    let made = report["made"].as_array().unwrap();
    assert_eq!(made.len(), 8);
    assert_eq!(made[7], "CONTROL_PLANE_INBOX_acme");
    let second: serde_json::Value = serde_json::from_str(&install("2").out).unwrap();
    assert_eq!(second["made"].as_array().unwrap().len(), 0);
    let other = install("4");
    assert_eq!(other.code, 1);
    assert!(other.err.contains("2 streams"), "{}", other.err);
    assert_eq!(install("3").code, 2);
    server.kill9().await;
    assert_eq!(install("2").code, 3);
}

/// Off, until someone asks for it; and then everyone goes on as before.
#[tokio::test]
async fn stored_events_are_republished_where_that_is_turned_on() {
    let world = World::up_with(&["--republish"]).await;
    assert!(
        world
            .process()
            .output()
            .join("\n")
            .contains("events-reader")
    );
    let config = world.file("broker/nats-server.conf");
    let reader = config.split("user: \"events-reader\"").nth(1).unwrap();
    assert!(
        reader.contains(r#"subscribe: { allow: ["events.demo.>"] }"#),
        "{reader}"
    );
    assert!(reader.contains(r#"publish: { deny: [">"] }"#), "{reader}");
    let url = serde_json::from_str::<serde_json::Value>(&world.file("context.json")).unwrap();
    let url = url["natsUrl"].as_str().unwrap().to_owned();
    let password = world.path("secrets/installer.password");
    let install = |republish: &[&str]| {
        let words = [
            "install",
            "--json",
            "--nats-url",
            &url,
            "--nats-password-file",
        ];
        let answer = type_in(&[&words[..], &[password.to_str().unwrap()], republish].concat());
        assert_eq!(answer.code, 0, "{}", answer.err);
        let report: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
        report["changed"].as_array().unwrap().len()
    };
    assert_eq!(install(&["--republish"]), 0);
    assert_eq!(install(&["--republish", "off"]), 2);
    assert_eq!(install(&[]), 0);
    assert_eq!(install(&["--republish", "on"]), 2);
    let draft = r#"{"steps":[{"id":"hello","uses":"core.echo/echo","with":{}}]}"#;
    let id = world.submit(&["Say hello", "--draft", draft]);
    assert_eq!(world.type_in(&["execution", "watch", &id]).code, 0);
    // Its broker knows the archiver, and so the projector is one.
    let said = world.file("logs/projector.log");
    assert!(said.contains("archiving what is older"), "{said}");
}

#[tokio::test]
async fn it_runs_on_a_broker_that_was_configured_by_the_command() {
    let directory = directory();
    let passwords = directory.path().join("passwords");
    let passwords = passwords.to_str().unwrap();
    let config = type_in(&[
        "broker-config",
        "--passwords",
        passwords,
        "--store",
        "@DATA@",
    ]);
    assert_eq!(config.code, 0, "{}", config.err);
    // Address and port are the test's.
    let config = config.out.replacen("listen: \"127.0.0.1:4222\"\n", "", 1);
    assert!(config.contains("sync_interval: always"), "{config}");
    let server = NatsServer::start(ServerOptions {
        config,
        sync_always: false,
    })
    .await;
    let url = server.url();
    let world = World::up_with(&["--nats-url", &url, "--nats-passwords", passwords]).await;
    let draft = r#"{"steps":[{"id":"hello","uses":"core.echo/echo","with":{}}]}"#;
    let id = world.submit(&["Say hello", "--draft", draft]);
    assert_eq!(world.type_in(&["execution", "watch", &id]).code, 0);
    world.process().term();
    assert!(world.process().wait(STOP_WITHIN).await.success());
    assert_eq!(world.processes(), []);
    assert!(
        server.process().is_running(),
        "the broker is not ours to stop"
    );
}

#[tokio::test]
async fn a_service_that_is_not_built_is_named() {
    let directory = directory();
    let alone = directory.path().join("controlplane");
    fs::copy(testkit::process::binary("controlplane"), &alone).unwrap();
    let data = directory.path().join("data");
    let output = Command::new(&alone)
        .args(["up", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("cargo build") && said.contains("`intake`"),
        "{said}"
    );
}

#[tokio::test]
async fn a_nats_server_that_is_of_no_use_is_refused_with_what_to_do() {
    let directory = directory();
    let file = directory.path().join("nats-server");
    let data = directory.path().join("data");
    let start = |script: &str| {
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
        let file = file.to_str().unwrap();
        type_in(&[
            "up",
            "--data",
            data.to_str().unwrap(),
            "--nats-server",
            file,
        ])
    };
    let old = start("echo nats-server: v2.10.7");
    assert_eq!(old.code, 1);
    assert!(old.err.contains("is nats-server 2.10"), "{}", old.err);
    let other = start("exit 3");
    assert_eq!(other.code, 1);
    assert!(
        other.err.contains("leave `--nats-server` out"),
        "{}",
        other.err
    );

    let dies = "[ \"$1\" = --version ] && { echo nats-server: v2.14.0; exit; }; echo alas; echo ay; exit 3";
    let first = start(&dies.replace("alas", "an earlier life"));
    assert!(first.err.contains("an earlier life"), "{}", first.err);
    let dead = start(dies);
    assert_eq!(dead.code, 1);
    // What it has said last, line by line, and nothing of those before it.
    assert!(
        dead.err.ends_with("nats-server.log:\n  alas\n  ay\n"),
        "{}",
        dead.err
    );
    assert_eq!(crate::world::processes_of(directory.path()), []);
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = directory();
    let data = directory.path().join("data");
    let words = [
        "up",
        "--data",
        data.to_str().unwrap(),
        "--listen",
        address.as_str(),
    ];
    let up = Process::spawn("up", command(&words), &directory.path().join("up.log"));
    assert_eq!(up.wait(STOP_WITHIN).await.code(), Some(1));
    up.line("name another address with `--listen`").await;
    assert_eq!(crate::world::processes_of(directory.path()), []);
}
