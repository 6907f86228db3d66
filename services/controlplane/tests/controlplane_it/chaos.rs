//! Real faults on real processes, in their short form: `deploy/chaos`.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::Value;
use testkit::{
    nats::server_binary,
    process::{Process, binary},
};

use crate::world::directory;

/// Which faults come when, and what is submitted. Any other must do as well.
const SEED: &str = "1";

/// Two minutes of faults, at most a minute and a half until everything has ended, and the rest.
const WITHIN: Duration = Duration::from_mins(5);

/// What is shown of a run that fails.
const TAIL_LINES: usize = 120;

#[tokio::test]
async fn the_short_form_holds() {
    let directory = directory();
    let report = directory.path().join("report.json");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/chaos/chaos.py");
    let mut command = Command::new("python3");
    command
        .arg(&script)
        .args(["--short", "--seed", SEED, "--json"])
        .arg(&report)
        .arg("--binaries")
        .arg(binary("controlplane").parent().unwrap())
        .env("CONTROL_PLANE_NATS_SERVER", server_binary())
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let run = Process::spawn("chaos", command, &directory.path().join("chaos.log"));
    let status = run.wait(WITHIN).await;
    let said = run.output();
    let tail = said[said.len().saturating_sub(TAIL_LINES)..].join("\n");
    assert!(
        status.success(),
        "{tail}\n{status}; again, keeping everything: \
         python3 deploy/chaos/chaos.py --short --seed {SEED} --keep DIR"
    );

    let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert_eq!(report["holds"], true, "{tail}");
    for (check, violations) in report["checks"].as_object().unwrap() {
        assert_eq!(violations, &Value::Array(Vec::new()), "{check}\n{tail}");
    }
    let figures = &report["figures"];
    let count = |name: &str| figures[name].as_u64().unwrap();
    assert!(count("submitted") > 100, "{tail}");
    assert!(figures["finished"]["waiting"].is_null(), "{tail}");
    assert!(count("dispatches") >= count("keys"), "{tail}");
    // Everything that this machine can do was done.
    let impossible = report["impossible"].as_object().unwrap();
    for kind in report["kinds"].as_array().unwrap() {
        let kind = kind.as_str().unwrap();
        let done = figures["faults"][kind].as_u64().unwrap_or(0);
        assert!(
            done > 0 || impossible.contains_key(kind),
            "no {kind}\n{tail}"
        );
    }
}
