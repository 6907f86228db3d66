//! The targets of `fuzz` under `libFuzzer`; `FUZZ_TARGET` names the one.

#![no_main]

use std::sync::LazyLock;

use fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| {
        let names = TARGETS.map(|target| target.name);
        panic!("set FUZZ_TARGET to one of {}", names.join(", "))
    })
});

fuzz_target!(|bytes: &[u8]| {
    (TARGET.holds)(bytes);
});
