//! Simulated worlds: some from seeds, some that are told as stories.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{path::Path, sync::Arc};

use expect_test::expect_file;
use host::judge::Judge;
use simulation::{
    draw,
    run::{self, Worlds},
    script::Script,
    world,
};

/// Few enough for an unoptimised build; CI lives through thousands in an optimised one.
const SEEDS: u64 = 60;

#[test]
fn nothing_goes_wrong() {
    let worlds = Worlds {
        from: 0,
        seeds: SEEDS,
        threads: 2,
        read_model_every: 20,
    };
    let summary = run::run(worlds, &|| {}, |_| {});
    if let Some(failure) = summary.failure {
        panic!("{}", failure.shrunk(&Arc::default()));
    }
    assert_eq!(summary.worlds, SEEDS);
}

#[test]
fn a_seed_is_the_same_history_every_time() {
    for seed in [3, 17, 4711] {
        let script = draw::script(seed);
        // A judge that has judged nothing, and one that has, make no difference.
        let judge = Arc::new(Judge::default());
        let first = world::run(&script, &judge, true).transcript;
        let again = world::run(&script, &judge, true).transcript;
        assert_eq!(first, again, "seed {seed}");
    }
}

#[test]
fn a_script_is_read_as_it_is_written() {
    for seed in 0..500 {
        let script = draw::script(seed);
        let read: Script = script.to_string().parse().unwrap();
        assert_eq!(read, script);
    }
}

#[test]
fn a_line_that_is_no_action_is_named() {
    let world = "world seed=1 wire=prompt workers=honest ending=answered streams=1\n";
    let said = |line: &str| {
        let script: Result<Script, _> = format!("{world}{line}").parse();
        script.unwrap_err().to_string()
    };
    assert_eq!(
        said("0.100 explode"),
        "line 2: `explode` is nothing that can be done"
    );
    assert_eq!(
        said("0.100 pause executor-3 for=1"),
        "line 2: `executor-3` is no process such as `executor-1`"
    );
    assert_eq!(
        said("0.100 outage for=long"),
        "line 2: `for=long` is no number that fits"
    );
    assert_eq!(
        said("0.1 reconnect"),
        "line 2: `0.1` is no instant such as `1.250` or `e1/plan.verified+0.250`"
    );
    assert_eq!(
        said("e1/plan.done+0.100 reconnect"),
        "line 2: `e1/plan.done+0.100` is no instant such as `1.250` or `e1/plan.verified+0.250`"
    );
    assert_eq!(
        said("0.200 reconnect\n0.100 reconnect"),
        "line 3: it is earlier than the line before it"
    );
}

/// Each is a script with a comment, and the story that came of it: `UPDATE_EXPECT=1` writes it.
#[test]
fn scenarios_are_told_as_they_were() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worlds/scenarios");
    let mut told = 0;
    let mut paths: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    paths.sort();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let script: Script = text.parse().unwrap();
        let outcome = world::run(&script, &Arc::default(), true);
        let name = path.display();
        assert!(
            outcome.violation.is_none(),
            "{name}: {}",
            outcome.violation.unwrap()
        );
        let comment = text.lines().take_while(|line| line.starts_with('#'));
        let comment: Vec<&str> = comment.collect();
        let story = format!(
            "{}\n\n{}\n",
            comment.join("\n"),
            outcome.transcript.join("\n")
        );
        expect_file![path.with_extension("story")].assert_eq(&story);
        told += 1;
    }
    assert!(told > 0, "there is no scenario");
}
