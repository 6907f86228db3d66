use std::time::Duration;

use contracts::{event::Service, position::StreamId, problem::Code};
use host::http::{door::Limits, server::Bounds};
use journal::delivery::{ConsumerSpec, Purpose};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    caller,
    cases::{echo, intent},
    world::{WORKSPACE, World, token},
};

fn limits() -> Limits {
    Limits {
        in_flight_max: 3,
        in_flight_of_one_max: 2,
        per_second_max: 1000,
        burst_max: 1000,
        ..Limits::default()
    }
}

/// A request that is let in and not yet sent to its end.
async fn unfinished(world: &World, who: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "POST /v1/intent.submit HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n",
        token(who)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body once it reads it, which is after it let the caller in.
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

async fn finish(mut stream: TcpStream) {
    stream.write_all(b"{}").await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = caller::parse(&answer[..length]);
    answer.is(Code::InvalidInput);
}

#[tokio::test]
async fn one_caller_cannot_take_all_places() {
    let world = World::limited(limits()).await;
    let first = unfinished(&world, "sam").await;
    let second = unfinished(&world, "sam").await;
    let answer = world.submit(&intent(echo())).await;
    answer.is(Code::RateLimited);
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("2 requests at once"),
        "{answer:#?}"
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    // There is a place for someone else, and for nobody after that.
    let third = unfinished(&world, "proxy").await;
    let answer = world.ask("guest", "intent.submit", &intent(echo())).await;
    answer.is(Code::RateLimited);
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("3 requests at once"),
        "{answer:#?}"
    );
    for stream in [first, second, third] {
        finish(stream).await;
    }
    world.submit(&intent(echo())).await.ok();
}

/// Who hangs up gives the place back.
#[tokio::test]
async fn a_caller_that_goes_away_leaves_its_place() {
    let world = World::limited(limits()).await;
    for _ in 0..20 {
        let first = unfinished(&world, "sam").await;
        drop(first);
        // Nothing else uses the place, so it is free as soon as the server notices.
        let patience = tokio::time::Instant::now() + Duration::from_secs(10);
        while world.submit(&intent(echo())).await.status == 429 {
            assert!(tokio::time::Instant::now() < patience);
        }
    }
}

#[tokio::test]
async fn a_caller_has_a_rate() {
    let limits = Limits {
        per_second_max: 1,
        burst_max: 3,
        ..Limits::default()
    };
    let world = World::limited(limits).await;
    for _ in 0..3 {
        world.submit(&intent(echo())).await.ok();
    }
    let answer = world.submit(&intent(echo())).await;
    answer.is(Code::RateLimited);
    assert!(
        answer.body["detail"]
            .as_str()
            .unwrap()
            .contains("1 requests a second"),
        "{answer:#?}"
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    // It is one caller's rate.
    world
        .ask("proxy", "intent.submit", &intent(echo()))
        .await
        .ok();
}

/// Before anything is stored, and only for as long as it is so.
#[tokio::test]
async fn more_than_may_wait_is_not_taken_in() {
    let world = World::where_few_may_wait(3).await;
    let planner = ConsumerSpec::of(Service::Planner, Purpose::Drive);
    let mut planner = world.journal.consume(planner).await.unwrap();
    let submit = async || world.submit(&intent(echo())).await;
    let first = submit().await.ok()["executionId"].clone();
    for _ in 0..2 {
        submit().await.ok();
    }
    let stream = StreamId::Log(0);
    let before = world.journal.last_sequence(stream).await.unwrap();
    let answer = world.submit(&intent(echo())).await;
    answer.is(Code::RateLimited);
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("3 executions wait to be begun"), "{detail}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(world.journal.last_sequence(stream).await.unwrap(), before);
    // What is under way needs no room.
    let cancel = json!({ "executionId": first, "cancelledBy": "sam" });
    world.ask("sam", "execution.cancel", &cancel).await.ok();
    planner.next().await.handle.ack().await.unwrap();
    let patience = tokio::time::Instant::now() + Duration::from_secs(10);
    while world.submit(&intent(echo())).await.status == 429 {
        assert!(tokio::time::Instant::now() < patience);
    }
}

#[tokio::test]
async fn a_body_has_a_size() {
    let world = World::alone().await;
    let mut input = json!({ "workspaceId": WORKSPACE, "text": "hi", "metadata": { "x": "" } });
    let rest = 1024 * 1024 - input.to_string().len();
    input["metadata"]["x"] = json!("x".repeat(rest));
    assert_eq!(input.to_string().len(), 1024 * 1024);
    world.submit(&input).await.ok();
    input["metadata"]["x"] = json!("x".repeat(rest + 1));
    world.submit(&input).await.is(Code::BodyTooLarge);
}

#[tokio::test]
async fn all_bodies_together_have_a_size() {
    let limits = Limits {
        bodies_kib_max: 1024 + 1,
        ..Limits::default()
    };
    let world = World::limited(limits).await;
    // A body that may turn out to be large takes room from when it begins.
    let first = unfinished(&world, "sam").await;
    let mut second = TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "POST /v1/intent.submit HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\
         expect: 100-continue\r\n\r\n",
        token("sam")
    );
    second.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    second.read_exact(&mut asked).await.unwrap();
    let answer = world.submit(&intent(echo())).await;
    answer.is(Code::RateLimited);
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("1025 KiB of bodies"), "{detail}");
    finish(first).await;
    world.submit(&intent(echo())).await.ok();
    drop(second);
}

/// A body without a length is counted as it comes.
#[tokio::test]
async fn a_body_in_chunks_has_a_size_too() {
    let world = World::alone().await;
    let head = format!(
        "POST /v1/intent.submit HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         authorization: Bearer {}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n",
        token("sam")
    );
    let small = intent(echo()).to_string();
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let body = chunk(&small) + "0\r\n\r\n";
    caller::raw(world.address, &head, body.as_bytes())
        .await
        .ok();
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = chunk(&" ".repeat(64 * 1024));
    for _ in 0..16 {
        stream.write_all(piece.as_bytes()).await.unwrap();
    }
    stream.write_all(b"1\r\n").await.unwrap();
    stream.write_all(b" \r\n").await.unwrap();
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read).await;
    caller::parse(&read).is(Code::BodyTooLarge);
}

/// What a connection says until it is closed.
async fn until_closed(mut stream: TcpStream) -> String {
    let mut read = Vec::new();
    let closed = stream.read_to_end(&mut read);
    let closed = tokio::time::timeout(Duration::from_secs(10), closed).await;
    assert!(closed.is_ok(), "the connection is still open");
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn who_sends_a_head_byte_by_byte_is_let_go() {
    let bounds = Bounds {
        head_within: Duration::from_millis(200),
        ..Bounds::default()
    };
    let world = World::bounded(bounds).await;
    for begun in [
        "",
        "POST /v1/intent.submit HTTP/1.1\r\nhost: test\r\nx-slow: ",
    ] {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        assert_eq!(until_closed(stream).await, "");
    }
    // Also after a request that was in order.
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = "GET /v1/ HTTP/1.1\r\nhost: test\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(until_closed(stream).await.starts_with("HTTP/1.1 404"));
    world.submit(&intent(echo())).await.ok();
}

#[tokio::test]
async fn a_head_has_a_size() {
    let world = World::alone().await;
    let head = format!(
        "POST /v1/intent.submit HTTP/1.1\r\nhost: test\r\nx-large: {}\r\n\r\n",
        "x".repeat(1_000_000)
    );
    assert_eq!(caller::raw(world.address, &head, b"").await.status, 431);
}

/// Answers that nobody takes are not kept for ever.
#[tokio::test]
async fn who_does_not_read_is_let_go() {
    let bounds = Bounds {
        connections_max: 1,
        unread_within: Duration::from_millis(300),
        ..Bounds::default()
    };
    let world = World::bounded(bounds).await;
    let mut greedy = TcpStream::connect(world.address).await.unwrap();
    let many = "GET /v1/x HTTP/1.1\r\nhost: test\r\n\r\n".repeat(1000);
    // Until the answers to what was sent fill every buffer on the way.
    let writing = async { while greedy.write_all(many.as_bytes()).await.is_ok() {} };
    let closed = tokio::time::timeout(Duration::from_secs(30), writing).await;
    assert!(closed.is_ok(), "the connection is still open");
    // Its place is free.
    world.submit(&intent(echo())).await.ok();
}

#[tokio::test]
async fn connections_are_bounded_and_others_wait() {
    let bounds = Bounds {
        connections_max: 2,
        ..Bounds::default()
    };
    let world = World::bounded(bounds).await;
    let first = unfinished(&world, "sam").await;
    let second = unfinished(&world, "sam").await;
    let input = intent(echo());
    let mut waiting = std::pin::pin!(world.submit(&input));
    let early = tokio::time::timeout(Duration::from_millis(100), waiting.as_mut()).await;
    assert!(early.is_err(), "{early:?}");
    finish(first).await;
    waiting.await.ok();
    finish(second).await;
}

/// Who asked before the stop is answered, and nobody is let in after it.
#[tokio::test]
async fn a_stop_answers_what_is_under_way() {
    let world = World::alone().await;
    let stream = unfinished(&world, "sam").await;
    world.shutdown.cancel();
    while TcpStream::connect(world.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    finish(stream).await;
}
