//! On which threads verdicts are explained, and by which bundles that are kept.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use contracts::{
    bundle::Bundle,
    canonical::Digest,
    facts::{Actor, ActorType},
};
use host::principals::Principal;
use policy::shipped::default_bundle;
use projector::query::policy::engines::{
    self, ENGINES_MAX, Engines, JUDGED_AT_ONCE, TEXT_BYTES_MAX,
};

use super::story::workspace;

/// A bundle unlike all of other numbers, and this large.
fn numbered(number: usize, padding: usize) -> (Digest, String) {
    let mut bundle: Bundle = default_bundle();
    let number = i64::try_from(number).unwrap();
    bundle.thresholds.insert("number".to_owned(), number);
    bundle.policies.insert(
        "padding.cedar".to_owned(),
        format!("// {}", " ".repeat(padding)),
    );
    let json = serde_json::to_string(&bundle).unwrap();
    (bundle.hash().unwrap(), json)
}

pub fn principal(name: &str) -> Principal {
    Principal {
        actor: Actor {
            id: name.parse().unwrap(),
            kind: ActorType::User,
            grants: BTreeSet::new(),
            via: None,
        },
        workspace: workspace(),
    }
}

async fn loads(engines: &Engines, (hash, json): (Digest, String)) -> bool {
    let bundle = engines::Bundle::Recorded {
        hash,
        json: Some(json),
    };
    let ann = principal("ann");
    let judged = engines.judge(&ann, Some(bundle), |engine| engine.is_some());
    judged.await.unwrap()
}

/// On the thread of the service, the first would wait here for ever.
#[tokio::test]
async fn few_are_judged_at_once_and_none_on_the_thread_of_the_service() {
    let engines = Arc::new(Engines::default());
    let (began, mut all_began) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, waits) = mpsc::channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let questions = 4 * JUDGED_AT_ONCE;
    let mut judging = Vec::new();
    for number in 0..questions {
        let asking = principal(&format!("asks-{number}"));
        let (engines, began, waits) = (Arc::clone(&engines), began.clone(), Arc::clone(&waits));
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        judging.push(tokio::spawn(async move {
            let judge = move |_: Option<&policy::engine::Engine>| {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                began.send(()).unwrap();
                waits.lock().unwrap().recv().unwrap();
                running.fetch_sub(1, Ordering::SeqCst);
            };
            engines.judge(&asking, None, judge).await.unwrap();
        }));
    }
    for _ in 0..JUDGED_AT_ONCE {
        all_began.recv().await.unwrap();
    }
    for _ in 0..questions {
        go_on.send(()).unwrap();
    }
    for judging in judging {
        judging.await.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), JUDGED_AT_ONCE);
}

/// Those of one wait for one another; someone else's does not wait for them.
#[tokio::test]
async fn many_questions_of_one_do_not_keep_out_another() {
    let engines = Arc::new(Engines::default());
    let (began, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, waits) = mpsc::channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    let mut judging = Vec::new();
    for _ in 0..8 {
        let (engines, began, waits) = (Arc::clone(&engines), began.clone(), Arc::clone(&waits));
        judging.push(tokio::spawn(async move {
            let judge = move |_: Option<&policy::engine::Engine>| {
                began.send(()).unwrap();
                waits.lock().unwrap().recv().unwrap();
            };
            engines.judge(&principal("ann"), None, judge).await
        }));
    }
    has_begun.recv().await.unwrap();
    let sam = principal("sam");
    let other = engines.judge(&sam, None, |_| ());
    other
        .await
        .expect("another has a turn while the first is judged");
    for _ in 0..8 {
        go_on.send(()).unwrap();
    }
    for judging in judging {
        judging.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_bundles_are_kept_that_were_used_last() {
    let engines = Engines::default();
    let hash = |number| numbered(number, 0).0;
    for number in 0..ENGINES_MAX {
        assert!(loads(&engines, numbered(number, 0)).await);
    }
    // Asked for again, the first is no longer the one that goes.
    assert!(engines.kept(&hash(0)).is_some());
    assert!(loads(&engines, numbered(ENGINES_MAX, 0)).await);
    assert!(engines.kept(&hash(1)).is_none());
    for number in [0, 2, ENGINES_MAX] {
        assert!(engines.kept(&hash(number)).is_some(), "{number}");
    }
    // What is loaded twice is counted once.
    for _ in 0..ENGINES_MAX {
        assert!(loads(&engines, numbered(2, 0)).await);
    }
    assert!(engines.kept(&hash(0)).is_some());
}

#[tokio::test]
async fn large_bundles_push_out_others_by_their_bytes() {
    let engines = Engines::default();
    let large = 900 * 1024;
    let fit = TEXT_BYTES_MAX / large;
    assert!(fit < ENGINES_MAX);
    for number in 0..=fit {
        assert!(loads(&engines, numbered(number, large)).await);
    }
    assert!(engines.kept(&numbered(0, large).0).is_none());
    assert!(engines.kept(&numbered(fit, large).0).is_some());
}

#[tokio::test]
async fn a_bundle_that_does_not_load_is_none_and_is_not_kept() {
    let engines = Engines::default();
    let (hash, _) = numbered(0, 0);
    for json in ["{", "{\"policies\":{\"a.cedar\":\"permit\"}}"] {
        assert!(!loads(&engines, (hash, json.to_owned())).await, "{json}");
        assert!(engines.kept(&hash).is_none());
    }
}
