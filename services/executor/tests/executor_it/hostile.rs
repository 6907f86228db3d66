//! A worker whose answers break whoever reads them.

use std::time::Duration;

use contracts::{
    event::{Event, EventName},
    manifest::SkillManifest,
};
use journal::request::skill_subject;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use super::{
    worker::Worker,
    world::{World, intent, key, names, shop, workspace},
};

/// A skill of the workspace whose worker is [`answer_unreadably`].
fn hostile_skill() -> SkillManifest {
    let mut manifest = shop();
    "test.hostile".clone_into(&mut manifest.skill.key);
    "nats:hostile".clone_into(&mut manifest.skill.entry_point);
    ::skills::signature::sign(&manifest, &key(), ::skills::signature::Validity::default()).unwrap()
}

/// Answers every call with a header that no client can read, by the broker's own protocol.
async fn answer_unreadably(address: &str) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (read, mut write) = stream.into_split();
    let subject = skill_subject(&workspace(), "hostile");
    let hello =
        format!("CONNECT {{\"verbose\":false,\"headers\":true}}\r\nSUB {subject} 1\r\nPING\r\n");
    write.write_all(hello.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(read).lines();
    while !lines
        .next_line()
        .await
        .unwrap()
        .unwrap()
        .starts_with("PONG")
    {}
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            let mut words = line.split(' ');
            if words.next() == Some("PING") {
                write.write_all(b"PONG\r\n").await.unwrap();
            }
            // Subject, subscription, where to answer, and the sizes.
            let Some(reply) = line.strip_prefix("HMSG ").and_then(|_| words.nth(2)) else {
                continue;
            };
            let block = b"NATS/1.0\r\nX: a\rb\r\n\r\n";
            let mut answer =
                format!("HPUB {reply} {} {}\r\n", block.len(), block.len() + 2).into_bytes();
            answer.extend(block);
            answer.extend(b"{}\r\n");
            write.write_all(&answer).await.unwrap();
        }
    });
}

fn step(uses: &str) -> Value {
    json!([{ "id": "one", "uses": uses, "with": { "order": "7" } }])
}

#[tokio::test]
async fn a_worker_that_breaks_the_connection_takes_neither_the_log_nor_the_work_of_others() {
    let (world, services) = World::running(1).await;
    world
        .ask_to_install(hostile_skill(), EventName::SkillInstalled)
        .await;
    answer_unreadably(world.servers[0].url().trim_start_matches("nats://")).await;
    let worker = Worker::serve(&world.journal, Duration::from_millis(300)).await;

    let theirs = world.submit(&intent(&step("test.hostile/look"))).await;
    world.until(theirs, EventName::StepStarted).await;
    let ours = world.submit(&intent(&step("test.shop/look"))).await;
    let history = world.finished(ours).await;
    assert_eq!(names(&history).last().unwrap(), "execution.completed");

    let failed = world.until(theirs, EventName::StepFailed).await;
    let Event::StepFailed(failed) = failed.event else {
        panic!("{failed:?}");
    };
    assert_eq!(failed.error_code, "INVALID_REPLY");
    assert!(services.executor.is_running());
    let after = world.submit(&intent(&step("test.shop/look"))).await;
    let history = world.finished(after).await;
    assert_eq!(names(&history).last().unwrap(), "execution.completed");
    assert_eq!(worker.counts().len(), 2);
}
