//! A skill's way through real services: refused, installed, pinned, disabled.

use std::fs;

use serde_json::{Value, json};

use crate::{asking::wait_until, world::World};

/// A manifest that Node.js signed with an RSA key, and the trust in its publisher.
fn foreign() -> (Value, Value) {
    let table = include_str!("../../../../shared/skills/tests/skills/foreign/cases.json");
    let mut table: Value = serde_json::from_str(table).unwrap();
    let cases = table["cases"].as_array_mut().unwrap();
    let case = cases
        .iter_mut()
        .find(|case| case["name"] == "RSA-PSS with rsa4096")
        .unwrap();
    (case["manifest"].take(), table["trust"].take())
}

fn write(world: &World, name: &str, value: &Value) -> String {
    let path = world.directory.path().join(name);
    fs::write(&path, value.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Activates the shipped bundle with this trust.
fn trust(world: &World, trust: &Value) {
    let bundle = world.directory.path().join("bundle");
    world.ask(&["policy", "default", "--write", bundle.to_str().unwrap()]);
    let file = bundle.join("bundle.json");
    let mut settings: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    settings["trust"] = trust.clone();
    fs::write(&file, settings.to_string()).unwrap();
    world.ask(&["policy", "activate", bundle.to_str().unwrap()]);
}

/// The events of skills in the log.
fn events_of_skills(world: &World) -> Vec<Value> {
    let export = world.directory.path().join("log.jsonl");
    world.ask(&["events", "export", "--output", export.to_str().unwrap()]);
    let lines = fs::read_to_string(export).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line.to_string().contains("controlPlane.skill."))
        .collect()
}

#[tokio::test]
async fn what_was_rejected_stands_in_nobodys_way() {
    let world = World::up().await;
    let (genuine, trusted) = foreign();
    trust(&world, &trusted);
    let mut forged = genuine.clone();
    forged["metadata"]["actions"]["read"]["risk"] = json!("high");
    let forged = write(&world, "forged.json", &forged);
    let genuine_file = write(&world, "genuine.json", &genuine);

    // Looked at first: the same report, and nothing is recorded.
    let looked = world.type_in(&["skill", "verify", &forged]);
    assert_eq!(looked.code, 1);
    for part in ["SIGNATURE_INVALID", "publisher      holds", "does not hold"] {
        assert!(looked.out.contains(part), "{part}: {}", looked.out);
    }
    let looked = world.ask(&["skill", "verify", &genuine_file]);
    assert_eq!(looked["verified"], true, "{looked:#}");
    assert_eq!(events_of_skills(&world).len(), 0);

    let refused = world.type_in(&["skill", "install", &forged]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("SIGNATURE_INVALID"), "{}", refused.err);
    let events = events_of_skills(&world);
    assert_eq!(
        events.len(),
        2,
        "the request and its rejection: {events:#?}"
    );
    assert!(
        events[1]
            .to_string()
            .contains("controlPlane.skill.rejected")
    );
    let listed = world.ask(&["skill", "list", "--all"]);
    assert_eq!(listed["items"][0]["status"], "rejected", "{listed:#}");

    let installed = world.ask(&["skill", "install", &genuine_file]);
    assert_eq!(installed["verified"], true);
    assert_eq!(installed["manifestDigest"], looked["manifestDigest"]);

    // The same version with other content is refused, whoever signed it.
    let conflict = world.type_in(&["skill", "install", &forged]);
    assert_eq!(conflict.code, 1);
    assert!(
        conflict.err.contains("SKILL_VERSION_CONFLICT"),
        "{}",
        conflict.err
    );
    let again = world.ask(&["skill", "install", &genuine_file]);
    assert_eq!(again["installationId"], installed["installationId"]);
    let replayed = world.ask(&["replay", "--all"]);
    assert_eq!(replayed["summary"]["differences"], 0, "{replayed:#}");
}

#[tokio::test]
async fn a_plan_is_pinned_to_content_and_a_disabled_skill_stops_it_before_the_next_step() {
    let world = World::up().await;
    let (manifest, trusted) = foreign();
    trust(&world, &trusted);
    let manifest = write(&world, "manifest.json", &manifest);
    let installed = world.ask(&["skill", "install", &manifest]);
    let digest = installed["manifestDigest"].as_str().unwrap();

    // In mode assist a human approves every step, so it can be disabled before the first. A step
    // may start on what was confirmed of the catalogue within the last second.
    let draft = r#"{"steps":[
        {"id":"wait","uses":"core.wait/wait","with":{"ms":1500}},
        {"id":"weather","uses":"acme.weather/read","needs":["wait"],"with":{}}]}"#;
    let words = ["How is the weather?", "--draft", draft, "--mode", "assist"];
    let id = world.submit(&words);
    wait_until(&world, &id, "execution.step.blocked").await;
    let trace = world.ask(&["trace", "get", &id, "--payloads"]).to_string();
    let pin = format!("acme.weather@2.1.0#{digest}");
    assert!(trace.contains(&pin), "{pin} is not in {trace}");

    let reason = "the publisher withdrew it";
    world.ask(&["skill", "disable", "acme.weather", "--reason", reason]);
    world.ask(&["execution", "approve", &id, "wait", "--yes"]);
    let watched = world.type_in(&["execution", "watch", &id]);
    assert_eq!(watched.code, 1, "{}", watched.out);
    assert!(watched.out.contains("SKILL_UNAVAILABLE"), "{}", watched.out);
    let record = world.ask(&["execution", "get", &id]);
    assert_eq!(record["execution"]["status"], "failed");
    let told = record.to_string();
    assert!(told.contains("acme.weather"), "{told}");
    let trace = world.ask(&["trace", "get", &id, "--payloads"]);
    let started: Vec<_> = trace["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["event"] == "execution.step.started")
        .map(|entry| &entry["payload"]["stepId"])
        .collect();
    assert_eq!(
        started,
        ["wait"],
        "the step of the disabled skill never starts"
    );
}
