#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test fails by panicking"
)]
#[path = "../../../services/projector/tests/projector_it/story.rs"]
mod story;
use contracts::{plan::Mode, time::Timestamp};
use journal::{layout::StreamCount, memory::MemoryJournal};
use std::sync::Arc;
use story::*;

async fn history(n: usize, count: StreamCount) -> MemoryJournal {
    let journal = MemoryJournal::new(count, Timestamp::from_millis(1_760_000_000_000));
    let story = Story::new(Arc::new(journal.clone()));
    story.activate(&policy::shipped::default_bundle()).await;
    for i in 0..n {
        let mode = if i % 3 == 0 {
            Mode::Assist
        } else {
            Mode::Autonomous
        };
        let steps = if i % 4 == 0 {
            chained()
        } else if i % 7 == 6 {
            faulty()
        } else {
            echo()
        };
        let id = story.submitted(mode, &steps).await;
        if story.status(id).await == contracts::plan::Status::Blocked {
            if i % 2 == 0 {
                story.approve(id, "say").await;
                story.finish(id).await;
            } else if i % 5 == 0 {
                story.cancel(id).await;
            }
        }
    }
    journal
}

#[test]
fn rows() {
    let n: usize = std::env::var("N")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(30);
    let seeds: u64 = std::env::var("SEEDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(50);
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for count in [1, 4] {
        let journal = rt.block_on(history(n, StreamCount::try_new(count).unwrap()));
        let (mut rows, mut restarts) = (0, 0);
        let begun = std::time::Instant::now();
        let mut worst = std::time::Duration::ZERO;
        for seed in 0..seeds {
            let b = std::time::Instant::now();
            match simulation::read_model::check_blocking(&journal, seed) {
                Ok(c) => {
                    if std::env::var("V").is_ok() {
                        eprintln!("seed {seed} {c:?}");
                    }
                    rows += c.rows;
                    restarts += c.restarts
                }
                Err(e) => panic!("seed {seed}: {}", host::engine::chain(&e)),
            }
            worst = worst.max(b.elapsed());
            if begun.elapsed().as_secs() > 300 {
                panic!("slow")
            }
        }
        eprintln!(
            "{count}: rows {rows} restarts {restarts} {:?} each, worst {worst:?}",
            begun.elapsed() / u32::try_from(seeds).unwrap()
        );
    }
}
