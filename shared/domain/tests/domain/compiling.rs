//! Plans: the same bytes for the same draft, and what a plan is made of.

use std::collections::BTreeMap;

use contracts::{
    canonical,
    events::planner::PlanSource,
    ids::{PlanId, StepId, WorkspaceId},
    plan::{Plan, PlanStep, RetryPolicy},
};
use domain::compile::{COMPILER_VERSION, Compiled, Source, compile};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::kit::{Shop, draft, execution_id, shop, step, wait, workspace};

fn compiled(shop: &Shop, draft: &Value) -> Compiled {
    let source = Source::Draft {
        draft,
        origin: PlanSource::Intent,
    };
    compile(source, &workspace(), &shop.catalogue)
        .unwrap_or_else(|refused| panic!("{:#?}", refused.findings))
}

fn plan(draft: &Value) -> Plan {
    compiled(&Shop::stocked(), draft).plan
}

fn only(step: Value) -> PlanStep {
    plan(&draft(&[step])).steps.remove(0)
}

/// Everything that a draft may say, on a catalogue of one skill.
fn refund() -> Value {
    draft(&[
        json!({
            "id": "refund",
            "uses": "ops@1.0.0/refund",
            "needs": ["look-up"],
            "with": {
                "order": "A-1",
                "minor": { "$from": "/steps/look-up/output/total" },
                "key": { "$secret": "bank" },
            },
            "timeoutMs": 7000,
            "retry": { "maxAttempts": 2 },
        }),
        json!({ "id": "look-up", "uses": "ops/lookup", "with": { "order": "A-1" } }),
        json!({ "id": "pause", "uses": "core.wait/wait", "with": { "ms": 1500 } }),
    ])
}

#[track_caller]
fn check(actual: &impl ToString, expected: &Expect) {
    expected.assert_eq(&actual.to_string());
}

#[test]
fn a_plan_has_the_same_bytes_and_the_same_hash_for_ever() {
    let compiled = compiled(&Shop::stocked(), &refund());
    let bytes = canonical::to_bytes(&compiled.plan).unwrap();
    check(
        &String::from_utf8(bytes).unwrap(),
        &expect![[
            r#"{"steps":[{"action":"lookup","id":"look-up","needs":[],"retry":{"backoffMs":500,"backoffMsMax":30000,"maxAttempts":3},"timeoutMs":30000,"uses":"ops@1.0.0#fbfee07edb072623fb2389d7692db1ab3d640d2eddbb5f9ce14a1a3ceb0c411b","with":{"order":"A-1"}},{"action":"wait","id":"pause","needs":[],"retry":{"backoffMs":500,"backoffMsMax":30000,"maxAttempts":3},"timeoutMs":61500,"uses":"core.wait@1.0.0#6997238d1287efc42c10c7932dc6d3e66b9396511a6df869c0e5e694b6408d76","with":{"ms":1500}},{"action":"refund","id":"refund","needs":["look-up"],"retry":{"backoffMs":500,"backoffMsMax":30000,"maxAttempts":2},"timeoutMs":7000,"uses":"ops@1.0.0#fbfee07edb072623fb2389d7692db1ab3d640d2eddbb5f9ce14a1a3ceb0c411b","with":{"key":{"$secret":"bank"},"minor":{"$from":"/steps/look-up/output/total"},"order":"A-1"}}]}"#
        ]],
    );
    check(
        &compiled.hash,
        &expect!["698086eab997d623aa05e0084fc9a447ea08e684d9b3221952f52031af314162"],
    );
    check(
        &PlanId::derive(execution_id(), &compiled.hash),
        &expect!["62a822d9-b65d-5d50-9d64-a43185c2befa"],
    );
    check(
        &compiled.facts_digest,
        &expect!["25707a605efdb59c193102e1677c7403ddf1020f0aba50f45c5ccb559d656547"],
    );
    check(&COMPILER_VERSION, &expect!["1"]);
}

#[test]
fn the_smallest_plan_has_the_same_bytes_for_ever() {
    let compiled = compiled(
        &Shop::empty(),
        &draft(&[json!({ "id": "a", "uses": "core.echo/echo" })]),
    );
    let bytes = canonical::to_bytes(&compiled.plan).unwrap();
    check(
        &String::from_utf8(bytes).unwrap(),
        &expect![[
            r#"{"steps":[{"action":"echo","id":"a","needs":[],"retry":{"backoffMs":500,"backoffMsMax":30000,"maxAttempts":3},"timeoutMs":30000,"uses":"core.echo@1.0.0#b976325664b29bf2965a8438454670b0469df1c897cffb69bb238bbf5fe171f0","with":{}}]}"#
        ]],
    );
    check(
        &compiled.hash,
        &expect!["cafc292e2d35c97d06a0de7f545848928020bdb61687a5ce8f98e50debe39a80"],
    );
}

#[test]
fn the_same_plan_of_two_executions_has_two_ids() {
    let hash = compiled(&Shop::stocked(), &refund()).hash;
    let other = contracts::ids::ExecutionId::of(uuid::Uuid::nil());
    assert_ne!(
        PlanId::derive(other, &hash),
        PlanId::derive(execution_id(), &hash)
    );
}

#[test]
fn steps_are_sorted_and_need_what_their_inputs_come_from() {
    let plan = plan(&refund());
    let needs: BTreeMap<&str, Vec<&str>> = plan
        .steps
        .iter()
        .map(|step| {
            (
                step.id.as_str(),
                step.needs.iter().map(StepId::as_str).collect(),
            )
        })
        .collect();
    assert_eq!(needs["refund"], ["look-up"]);
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["look-up", "pause", "refund"]);
    let bound = only_of(
        &[
            step("z"),
            json!({
                "id": "a",
                "uses": "ops/act",
                "with": [{ "deep": { "$from": "/steps/z/output" } }],
            }),
        ],
        "a",
    );
    assert_eq!(bound.needs, ["z".parse().unwrap()]);
}

#[test]
fn every_skill_that_is_used_is_pinned_once() {
    let compiled = compiled(&Shop::stocked(), &refund());
    let keys: Vec<&str> = compiled.pins.iter().map(|pin| pin.key.as_str()).collect();
    assert_eq!(keys, ["core.wait", "ops"]);
}

#[test]
fn a_draft_overrides_the_action_and_the_action_the_default() {
    let refund = |more: Value| {
        let mut step = json!({
            "id": "a",
            "uses": "ops/refund",
            "with": { "order": "1", "minor": 1 },
        });
        step.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        only(step)
    };
    let of_action = refund(json!({}));
    assert_eq!(
        (of_action.timeout_ms, of_action.retry.max_attempts),
        (5000, 5)
    );
    let of_draft = refund(json!({ "timeoutMs": 1, "retry": { "maxAttempts": 7 } }));
    assert_eq!((of_draft.timeout_ms, of_draft.retry.max_attempts), (1, 7));
    let default = only(json!({ "id": "a", "uses": "ops/act" }));
    assert_eq!(
        (default.timeout_ms, default.retry),
        (30_000, RetryPolicy::default())
    );
}

#[test]
fn a_wait_has_the_time_that_it_waits() {
    assert_eq!(only(wait("a", 1500)).timeout_ms, 61_500);
    let mut spelled_otherwise = wait("a", 0);
    spelled_otherwise["with"] = json!({ "ms": 1500.0 });
    let hash = |step: Value| compiled(&Shop::empty(), &draft(&[step])).hash;
    assert_eq!(hash(spelled_otherwise), hash(wait("a", 1500)));
}

#[test]
fn the_newest_version_that_is_enabled_is_chosen() {
    let mut shop = Shop::stocked();
    for version in ["1.10.0", "1.9.0", "2.0.0-rc.1"] {
        shop.install("ops", version, &shop::ops());
    }
    let chosen = |shop: &Shop, uses: &str| {
        let mut step = step("a");
        step["uses"] = json!(uses);
        compiled(shop, &draft(&[step])).pins[0].version.to_string()
    };
    assert_eq!(chosen(&shop, "ops/act"), "2.0.0-rc.1");
    shop.disable("ops", Some("2.0.0-rc.1"));
    assert_eq!(chosen(&shop, "ops/act"), "1.10.0");
    assert_eq!(chosen(&shop, "ops@1.9.0/act"), "1.9.0");
}

#[test]
fn the_workspaces_own_skill_is_chosen_before_a_shared_one() {
    let mut shop = Shop::stocked();
    shop.install_in(&WorkspaceId::global(), "ops", "9.0.0", &shop::ops());
    shop.install_in(&WorkspaceId::global(), "shared", "1.0.0", &shop::ops());
    let pins = compiled(
        &shop,
        &draft(&[
            json!({ "id": "a", "uses": "ops/act" }),
            json!({ "id": "b", "uses": "shared/act" }),
        ]),
    )
    .pins;
    let pins: Vec<String> = pins
        .iter()
        .map(|pin| format!("{}@{}", pin.key, pin.version))
        .collect();
    assert_eq!(pins, ["ops@1.0.0", "shared@1.0.0"]);
}

#[test]
fn a_skill_of_another_workspace_is_not_there() {
    let mut shop = Shop::stocked();
    shop.install_in(&"other".parse().unwrap(), "theirs", "1.0.0", &shop::ops());
    let draft = draft(&[json!({ "id": "a", "uses": "theirs/act" })]);
    let source = Source::Draft {
        draft: &draft,
        origin: PlanSource::Intent,
    };
    let refused = compile(source, &workspace(), &shop.catalogue).unwrap_err();
    assert_eq!(refused.findings[0].code, "UNKNOWN_SKILL");
}

#[test]
fn what_was_read_of_the_catalogue_is_in_the_digest_of_its_facts() {
    let mut shop = Shop::stocked();
    let of = |shop: &Shop| compiled(shop, &draft(&[step("a")])).facts_digest;
    let before = of(&shop);
    shop.install("unrelated", "1.0.0", &shop::ops());
    assert_eq!(of(&shop), before);
    shop.install("ops", "1.1.0", &shop::ops());
    assert_ne!(of(&shop), before);
}

fn only_of(steps: &[Value], id: &str) -> PlanStep {
    plan(&draft(steps))
        .step(&id.parse().unwrap())
        .unwrap()
        .clone()
}
