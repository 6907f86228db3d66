//! What must hold of every parser holds for the committed inputs and for what a seed makes of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    thread,
};

use fuzz::{
    Reached, TARGETS, Target,
    mutation::{Seed, mutated},
};

/// Any other would do.
const SEED: u64 = 11;

/// All folders together: they are read by people, and kept for ever.
const CORPUS_BYTES_MAX: usize = 1_000_000;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The inputs of a folder, by their names.
fn inputs(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = corpus().join(target.name);
    let files = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("`{}` has no inputs: {error}", target.name));
    let mut inputs: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(&path).unwrap())
        })
        .collect();
    inputs.sort();
    inputs
}

/// Where the input stands that is looked at: what ends the process, or never ends, is found there.
/// Each test has its own, as they run at once.
fn last_input(test: &str, target: &Target) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{test}-{}", target.name))
}

fn holds(test: &str, target: &Target, what: &str, input: &[u8]) -> Reached {
    let kept = last_input(test, target);
    fs::write(&kept, input).unwrap();
    let held = catch_unwind(AssertUnwindSafe(|| (target.holds)(input)));
    held.unwrap_or_else(|panic| {
        eprintln!(
            "`{}` does not hold for {what}; the input is in {}: copy it to {} to keep it, and run \
             cargo test -p fuzz",
            target.name,
            kept.display(),
            corpus().join(target.name).display()
        );
        resume_unwind(panic)
    })
}

/// All targets at once: most of them are short, and one is long.
fn each(tried: impl Fn(&Target) + Sync) {
    thread::scope(|scope| {
        for target in &TARGETS {
            let tried = &tried;
            let name = target.name.to_owned();
            thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, move || tried(target))
                .unwrap();
        }
    });
}

fn mutations(test: &str, target: &Target, count: usize) {
    let inputs = inputs(target);
    let mut seed = Seed::new(SEED);
    for number in 0..count {
        let (name, input) = &inputs[number % inputs.len()];
        let (_, other) = &inputs[seed.below(inputs.len())];
        let what = format!("mutation {number} (of {name}, seed {SEED})");
        holds(test, target, &what, &mutated(input, other, &mut seed));
    }
}

/// A property that nothing comes to holds of everything, also where a parser refuses all it gets.
#[test]
fn every_committed_input_is_answered_as_it_must_be_and_some_come_to_each_property() {
    each(|target| {
        let mut reached = Reached::new();
        for (name, input) in inputs(target) {
            reached.extend(holds("committed", target, &name, &input));
        }
        let properties: Reached = target.properties.iter().copied().collect();
        assert_eq!(reached, properties, "of `{}`", target.name);
    });
}

#[test]
fn so_is_what_a_seed_makes_of_them() {
    each(|target| mutations("mutated", target, target.mutations));
}

/// `cargo test -p fuzz -- --ignored`, with `--release` for more of it in the same time.
#[test]
#[ignore = "takes minutes"]
fn so_is_a_hundred_times_as_much() {
    each(|target| mutations("long", target, target.mutations * 100));
}

#[test]
fn every_target_has_its_folder_and_the_folders_stay_small() {
    let folders: BTreeSet<_> = fs::read_dir(corpus())
        .unwrap()
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    let names = TARGETS.map(|target| target.name.to_owned());
    assert_eq!(folders, names.into());
    let bytes = |target: &Target| inputs(target).iter().map(|(_, it)| it.len()).sum::<usize>();
    let total: usize = TARGETS.iter().map(bytes).sum();
    assert!(total < CORPUS_BYTES_MAX, "{total} bytes");
}
