//! Many readers at once, and a process that dies under them.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use contracts::{ids::ExecutionId, plan::Mode, position::StreamId};
use policy::shipped::default_bundle;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    broker::{Broker, address},
    story::{Story, chained, echo},
    world::{CROWD, Caller, client},
};

/// Readers of the whole workspace, and of one execution each.
const OF_WORKSPACE: usize = 24;
const OF_EXECUTIONS: usize = 176;

const EXECUTIONS: usize = 8;

/// How often the projector dies, and after how many messages that its readers have read since it
/// was begun: most of them are in the midst of what there is then.
const DEATHS: usize = 3;
const DIES_AFTER: usize = 300;

const PATIENCE: Duration = Duration::from_mins(1);

/// What a reader has read: by stream, the sequences and the ids of events in the order in which
/// they came.
type Read = BTreeMap<String, Vec<(u64, String)>>;

/// Reads until `last` has come, over as many connections as it takes.
async fn read_all(
    client: reqwest::Client,
    number: usize,
    path: String,
    mut address: watch::Receiver<Option<SocketAddr>>,
    mut count: watch::Receiver<Option<usize>>,
    total: Arc<watch::Sender<usize>>,
) -> (Read, usize) {
    let (mut read, mut events, mut connections) = (Read::new(), 0, 0);
    let mut after: Option<String> = None;
    loop {
        let up = *address.wait_for(Option::is_some).await.unwrap();
        let caller = Caller::of(client.clone(), up.unwrap(), CROWD[number % CROWD.len()]);
        let Some(mut feed) = caller.try_open(&path, after.as_deref()).await else {
            tokio::task::yield_now().await;
            continue;
        };
        match feed.response.status().as_u16() {
            200 => connections += 1,
            // All of it was read.
            204 => return (read, connections),
            // Too much at once, or it is not as far yet: as long as it says.
            429 | 503 => {
                let wait = feed.response.headers()["retry-after"].to_str().unwrap();
                tokio::time::sleep(Duration::from_secs(wait.parse().unwrap())).await;
                continue;
            }
            status => panic!("{path} answers {status}"),
        }
        loop {
            if count.borrow().is_some_and(|count| events >= count) {
                return (read, connections);
            }
            let next = tokio::select! {
                next = feed.next() => next,
                _ = count.changed() => continue,
            };
            let Some((_, event)) = next else { break };
            events += 1;
            total.send_modify(|total| *total += 1);
            let text = |member: &str| event[member].as_str().unwrap().to_owned();
            let place = (text("sequence").parse().unwrap(), text("id"));
            read.entry(text("stream")).or_default().push(place);
        }
        after = feed.at;
    }
}

/// To their ends, and others with them.
async fn run(story: Arc<Story>, ids: Vec<ExecutionId>) {
    for round in 0.. {
        let mut went_on = false;
        for id in &ids {
            went_on |= story.goes_on(*id).await;
        }
        if !went_on {
            break;
        }
        if round % 4 == 0 {
            story.submitted(Mode::Autonomous, &echo()).await;
        }
    }
}

/// What a reader of the workspace must have read, and how many events that is. Those of skills and
/// policies are not this crowd's to read.
async fn in_the_log(story: &Story) -> (Read, usize) {
    let (mut expected, mut count) = (Read::new(), 0);
    for stream in story.journal.streams() {
        if stream == StreamId::Catalogue {
            continue;
        }
        for entry in story.journal.read(stream, 0, 2_000).await.unwrap() {
            let id = entry.recorded.unwrap().id().to_string();
            let events = expected.entry(stream.name()).or_default();
            events.push((entry.position.sequence, id));
            count += 1;
        }
    }
    (expected, count)
}

#[tokio::test]
async fn two_hundred_readers_read_everything_once_whatever_dies() {
    let broker = Broker::start().await;
    let story = Arc::new(Story::new(Arc::clone(&broker.journal)));
    story.activate(&default_bundle()).await;
    let mut ids = Vec::new();
    for _ in 0..EXECUTIONS {
        ids.push(story.received(Mode::Autonomous, &chained()).await.0);
    }
    let mut process = broker.projector("crowd-0");
    let (tell, up) = watch::channel(Some(address(&process).await));
    let (tell_count, count) = watch::channel(None);
    let (_of_one, never) = watch::channel(None);
    let total = Arc::new(watch::Sender::new(0));
    let client = client();
    let mut of_workspace = Vec::new();
    for number in 0..OF_WORKSPACE {
        let path = "/v1/events?after=v1".to_owned();
        of_workspace.push(tokio::spawn(read_all(
            client.clone(),
            number,
            path,
            up.clone(),
            count.clone(),
            Arc::clone(&total),
        )));
    }
    let mut of_executions = Vec::new();
    for number in 0..OF_EXECUTIONS {
        let id = ids[number % ids.len()];
        let path = format!("/v1/executions/{id}/events");
        let (up, never, total) = (up.clone(), never.clone(), Arc::clone(&total));
        let reading = tokio::spawn(read_all(client.clone(), number, path, up, never, total));
        of_executions.push((id, reading));
    }

    // Executions run while it dies and comes back.
    let running = tokio::spawn(run(Arc::clone(&story), ids.clone()));
    for death in 1..=DEATHS {
        let before = *total.borrow();
        let mut total = total.subscribe();
        let enough = total.wait_for(|total| *total >= before + DIES_AFTER);
        timeout(PATIENCE, enough)
            .await
            .expect("readers read")
            .unwrap();
        tell.send_replace(None);
        process.kill9().await;
        process = broker.projector(&format!("crowd-{death}"));
        tell.send_replace(Some(address(&process).await));
    }
    running.await.unwrap();

    let (expected, all) = in_the_log(&story).await;
    tell_count.send_replace(Some(all));
    let end = Instant::now() + PATIENCE;
    let left = || end.saturating_duration_since(Instant::now());
    let mut connections = 0;
    for reading in of_workspace {
        let (read, opened) = timeout(left(), reading)
            .await
            .expect("it reads all")
            .unwrap();
        assert_eq!(read, expected);
        connections += opened;
    }
    for (id, reading) in of_executions {
        let (read, opened) = timeout(left(), reading)
            .await
            .expect("it reads all")
            .unwrap();
        let history = story.history(&story.aggregate(id)).await;
        let history: Vec<Value> = history
            .iter()
            .map(|it| it.id().to_string().into())
            .collect();
        let read: Vec<Value> = read
            .into_values()
            .flatten()
            .map(|(_, id)| id.into())
            .collect();
        assert_eq!(read, history);
        connections += opened;
    }
    // They were let go, and went on.
    assert!(connections > OF_WORKSPACE + OF_EXECUTIONS, "{connections}");
}
