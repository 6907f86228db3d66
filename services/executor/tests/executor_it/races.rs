//! Two people, two intake processes, one step.

use std::time::Duration;

use contracts::{
    event::{Event, EventName},
    ids::ExecutionId,
    record::Recorded,
};
use serde_json::{Value, json};

use super::{
    door::{ANN, Door},
    worker::Worker,
    world::{World, intent, names},
};

#[derive(Debug, PartialEq)]
enum First {
    Vote,
    Cancel,
}

fn first(history: &[Recorded]) -> First {
    let order = history.iter().find_map(|recorded| match recorded.event {
        Event::ExecutionApproved(_) => Some(First::Vote),
        Event::CancelRequested(_) => Some(First::Cancel),
        _ => None,
    });
    order.expect("neither was stored")
}

/// The vote is sent `delay_ms` after the cancel, before it where that is negative.
async fn race(
    world: &World,
    doors: &[Door; 2],
    delay_ms: i64,
) -> (ExecutionId, (u16, Value), (u16, Value)) {
    let id = world
        .submit(&intent(&json!([
            { "id": "pay", "uses": "test.shop/refund", "with": { "order": "7" } },
        ])))
        .await;
    let Event::StepBlocked(blocked) = world.until(id, EventName::StepBlocked).await.event else {
        panic!("not a block");
    };
    let vote = json!({
        "executionId": id, "stepId": "pay", "approvedBy": "ann", "planHash": blocked.plan_hash,
    });
    let cancel = json!({ "executionId": id, "cancelledBy": "ann", "reason": "changed my mind" });
    let wait = |ms: i64| tokio::time::sleep(Duration::from_millis(ms.max(0).unsigned_abs()));
    let (voted, cancelled) = tokio::join!(
        async {
            wait(delay_ms).await;
            doors[0].ask(ANN, "execution.approve", &vote).await
        },
        async {
            wait(-delay_ms).await;
            doors[1].ask(ANN, "execution.cancel", &cancel).await
        },
    );
    (id, voted, cancelled)
}

#[tokio::test]
async fn a_vote_and_a_cancel_at_once_have_one_consistent_history() {
    const EACH: usize = 50;
    const ROUNDS_MAX: usize = 600;
    let (world, _services) = World::running(1).await;
    let _worker = Worker::serve(&world.journal, Duration::from_millis(5)).await;
    let doors = [
        Door::open(&world, "intake-1").await,
        Door::open(&world, "intake-2").await,
    ];
    let (mut votes_first, mut cancels_first, mut delay_ms) = (0, 0, 0_i64);
    for _ in 0..ROUNDS_MAX {
        let (id, voted, cancelled) = race(&world, &doors, delay_ms).await;
        assert!(
            voted.0 == 200 || cancelled.0 == 200,
            "{voted:?} {cancelled:?}"
        );
        let history = world.finished(id).await;
        let names = names(&history);
        let last = names.last().unwrap();
        let told = format!("{voted:?} {cancelled:?} {names:#?}");
        match first(&history) {
            First::Vote => {
                votes_first += 1;
                // Whoever comes second meets a run that goes on, or has just ended.
                assert_eq!(voted.0, 200, "{told}");
                let ended = last == "execution.completed" || last == "execution.failed CANCELLED";
                assert!(ended, "{told}");
                delay_ms = (delay_ms + 1).min(20);
            }
            First::Cancel => {
                cancels_first += 1;
                assert_eq!(cancelled.0, 200, "{told}");
                assert_eq!(
                    (voted.0, &voted.1["code"]),
                    (409, &json!("EXECUTION_ENDED")),
                    "{told}"
                );
                assert_eq!(last, "execution.failed CANCELLED", "{told}");
                assert!(!told.contains("step.started"), "{told}");
                delay_ms = (delay_ms - 1).max(-20);
            }
        }
        if votes_first >= EACH && cancels_first >= EACH {
            return;
        }
    }
    panic!("after {ROUNDS_MAX} rounds: {votes_first} votes first, {cancels_first} cancels first");
}
