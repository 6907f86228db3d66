//! Drafts that do not compile: all their faults at once, each with a code and a place.

use contracts::events::planner::PlanSource;
use domain::{
    compile::{Source, compile},
    draft::STEPS_MAX,
};
use serde_json::{Value, json};

use super::kit::{Shop, draft, shop, workspace};

/// The faults as `CODE /path`, in the order they are reported.
fn faults_on(shop: &Shop, draft: &Value) -> Vec<String> {
    let source = Source::Draft {
        draft,
        origin: PlanSource::Intent,
    };
    match compile(source, &workspace(), &shop.catalogue) {
        Ok(_) => Vec::new(),
        Err(refused) => refused
            .findings
            .iter()
            .map(|finding| format!("{} {}", finding.code, finding.path))
            .collect(),
    }
}

#[track_caller]
fn check<const N: usize>(draft: &Value, expected: [&str; N]) {
    assert_eq!(faults_on(&Shop::stocked(), draft), expected);
}

#[track_caller]
fn check_step<const N: usize>(step: Value, expected: [&str; N]) {
    check(&draft(&[step]), expected);
}

/// A step `a` with these members beside its id and what it uses.
fn act(more: &Value) -> Value {
    let mut step = json!({ "id": "a", "uses": "ops/act" });
    step.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    step
}

fn lookup(id: &str) -> Value {
    json!({ "id": id, "uses": "ops/lookup", "with": { "order": "1" } })
}

fn refund(with: &Value) -> Value {
    json!({ "id": "z", "uses": "ops/refund", "with": with })
}

#[test]
fn a_draft_is_an_object() {
    check(&json!("steps"), ["DRAFT_INVALID "]);
}

#[test]
fn a_draft_has_steps_and_nothing_else() {
    check(&json!({}), ["STEPS_MISSING /steps"]);
    check(&json!({ "steps": [] }), ["STEPS_MISSING /steps"]);
    check(&json!({ "steps": {} }), ["STEPS_MISSING /steps"]);
    check(
        &json!({ "steps": [act(&json!({}))], "a/b": 1 }),
        ["UNKNOWN_MEMBER /a~1b"],
    );
}

#[test]
fn a_draft_has_a_bounded_number_of_steps() {
    let step = |index: usize| json!({ "id": format!("s{index}"), "uses": "core.echo/echo" });
    let most: Vec<Value> = (0..STEPS_MAX).map(step).collect();
    check(&draft(&most), []);
    let more: Vec<Value> = (0..=STEPS_MAX).map(step).collect();
    check(&draft(&more), ["TOO_MANY_STEPS /steps"]);
}

#[test]
fn a_step_is_an_object() {
    check_step(json!(1), ["STEP_INVALID /steps/0"]);
}

#[test]
fn a_step_has_no_unknown_members() {
    check_step(
        act(&json!({ "timeout": 1 })),
        ["UNKNOWN_MEMBER /steps/0/timeout"],
    );
}

#[test]
fn what_comes_later_is_refused_and_never_ignored() {
    for member in ["when", "compensate", "forEach"] {
        let mut step = act(&json!({}));
        step[member] = json!({});
        assert_eq!(
            faults_on(&Shop::stocked(), &draft(&[step])),
            [format!("NOT_SUPPORTED_YET /steps/0/{member}")]
        );
    }
}

#[test]
fn a_step_has_an_id_of_its_own() {
    check_step(
        json!({ "uses": "ops/act" }),
        ["STEP_ID_INVALID /steps/0/id"],
    );
    check_step(
        json!({ "id": "a b", "uses": "ops/act" }),
        ["STEP_ID_INVALID /steps/0/id"],
    );
    check_step(
        json!({ "id": 7, "uses": "ops/act" }),
        ["STEP_ID_INVALID /steps/0/id"],
    );
    check(
        &draft(&[lookup("a"), lookup("b"), lookup("a")]),
        ["STEP_ID_DUPLICATE /steps/2/id"],
    );
}

#[test]
fn a_step_says_what_it_uses() {
    for uses in [
        json!(null),
        json!("ops"),
        json!("ops@x/act"),
        json!("/act"),
        json!("o ps/act"),
    ] {
        check_step(
            json!({ "id": "a", "uses": uses }),
            ["USES_INVALID /steps/0/uses"],
        );
    }
}

#[test]
fn what_needs_a_step_that_uses_nothing_readable_has_no_fault_of_its_own() {
    let mut after = lookup("b");
    after["needs"] = json!(["a"]);
    check(
        &draft(&[json!({ "id": "a", "uses": "ops" }), after]),
        ["USES_INVALID /steps/0/uses"],
    );
}

#[test]
fn what_is_needed_is_a_list_of_other_steps() {
    check_step(
        act(&json!({ "needs": "a" })),
        ["NEEDS_INVALID /steps/0/needs"],
    );
    check_step(
        act(&json!({ "needs": [1, "b c"] })),
        [
            "NEEDS_INVALID /steps/0/needs/0",
            "NEEDS_INVALID /steps/0/needs/1",
        ],
    );
    check_step(
        act(&json!({ "needs": ["z"] })),
        ["UNKNOWN_STEP /steps/0/needs/0"],
    );
    check_step(
        act(&json!({ "needs": ["a"] })),
        ["SELF_DEPENDENCY /steps/0/needs/0"],
    );
}

#[test]
fn a_retry_is_bounded() {
    for retry in [
        json!(3),
        json!({ "maxAttempts": 0 }),
        json!({ "maxAttempts": 101 }),
        json!({ "maxAttempts": 2.5 }),
        json!({ "backoffMs": 2, "backoffMsMax": 1 }),
        json!({ "backoffMsMax": 100_000_000 }),
        json!({ "attempts": 1 }),
    ] {
        check_step(
            act(&json!({ "retry": retry })),
            ["RETRY_INVALID /steps/0/retry"],
        );
    }
}

#[test]
fn a_time_is_bounded() {
    for timeout in [json!(0), json!(-1), json!("1"), json!(900_001)] {
        check_step(
            act(&json!({ "timeoutMs": timeout })),
            ["TIMEOUT_INVALID /steps/0/timeoutMs"],
        );
    }
}

#[test]
fn a_skill_and_its_action_are_installed() {
    check_step(
        json!({ "id": "a", "uses": "none/act" }),
        ["UNKNOWN_SKILL /steps/0/uses"],
    );
    check_step(
        json!({ "id": "a", "uses": "ops@2.0.0/act" }),
        ["UNKNOWN_SKILL /steps/0/uses"],
    );
    check_step(
        json!({ "id": "a", "uses": "ops/none" }),
        ["UNKNOWN_ACTION /steps/0/uses"],
    );
}

#[test]
fn a_skill_is_enabled() {
    let mut shop = Shop::stocked();
    shop.disable("ops", None);
    for uses in ["ops/act", "ops@1.0.0/act"] {
        let draft = draft(&[json!({ "id": "a", "uses": uses })]);
        assert_eq!(faults_on(&shop, &draft), ["SKILL_DISABLED /steps/0/uses"]);
    }
}

#[test]
fn inputs_fit_the_action() {
    check_step(
        refund(&json!({ "order": "1" })),
        ["INPUT_INVALID /steps/0/with"],
    );
    check_step(
        refund(&json!({ "order": 1, "minor": 100_001 })),
        [
            "INPUT_INVALID /steps/0/with/minor",
            "INPUT_INVALID /steps/0/with/order",
        ],
    );
    check_step(
        refund(&json!({ "order": "1", "minor": 1, "more": 1 })),
        ["INPUT_INVALID /steps/0/with"],
    );
}

#[test]
fn inputs_that_are_known_later_are_not_judged_now() {
    let from = json!({ "$from": "/steps/a/output/total" });
    let with = json!({ "order": { "$secret": "number" }, "minor": from });
    check(&draft(&[lookup("a"), refund(&with)]), []);
}

#[test]
fn a_schema_that_cannot_be_used_is_a_fault_of_the_skill() {
    let mut shop = Shop::stocked();
    let metadata = json!({ "actions": {
        "act": { "input": { "type": 7 }, "output": {}, "effect": "read", "risk": "low" },
    }});
    shop.install("broken", "1.0.0", &metadata);
    let draft = draft(&[json!({ "id": "a", "uses": "broken/act" })]);
    assert_eq!(faults_on(&shop, &draft), ["SKILL_INVALID /steps/0/with"]);
}

#[test]
fn steps_do_not_need_each_other_in_a_circle() {
    let step = |id: &str, needs: &[&str]| json!({ "id": id, "uses": "ops/act", "needs": needs });
    check(
        &draft(&[
            step("a", &["b"]),
            step("b", &["c"]),
            step("c", &["a"]),
            step("d", &["a"]),
        ]),
        ["CYCLE /steps/0/needs"],
    );
    check(
        &draft(&[
            step("a", &["b"]),
            step("b", &["a"]),
            step("c", &["d"]),
            step("d", &["c"]),
        ]),
        ["CYCLE /steps/0/needs", "CYCLE /steps/2/needs"],
    );
    // A binding is a need too. The fault of the first step does not move the place of the others.
    let mut bound = step("b", &[]);
    bound["with"] = json!({ "x": { "$from": "/steps/c/output/y" } });
    check(
        &draft(&[json!(1), bound, step("c", &["b"])]),
        ["STEP_INVALID /steps/0", "CYCLE /steps/1/needs"],
    );
}

#[test]
fn a_binding_has_one_of_three_forms() {
    for with in [
        json!({ "$from": 1 }),
        json!({ "$from": "a/output" }),
        json!({ "$from": "/steps/b/input" }),
        json!({ "$from": "/steps/b/outputs" }),
        json!({ "$from": "/steps/b/output", "default": 1 }),
        json!({ "$secret": "" }),
        json!({ "$env": "HOME" }),
        json!({ "$param": "no pointer" }),
    ] {
        let step = act(&json!({ "with": { "x": with } }));
        check(
            &draft(&[step, lookup("b")]),
            ["BINDING_INVALID /steps/0/with/x"],
        );
    }
}

#[test]
fn a_binding_names_another_step_and_something_in_its_output() {
    let x = |from: &str| act(&json!({ "with": { "x": { "$from": from } } }));
    check_step(
        x("/steps/z/output"),
        ["BINDING_UNKNOWN_STEP /steps/0/with/x"],
    );
    check_step(x("/steps/a/output/y"), ["SELF_DEPENDENCY /steps/0/with/x"]);
    for (pointer, fault) in [
        ("", None),
        ("/name", None),
        ("/lines/0", None),
        ("/none", Some("BINDING_UNKNOWN_OUTPUT /steps/0/with/x")),
        (
            "/total/deeper",
            Some("BINDING_UNKNOWN_OUTPUT /steps/0/with/x"),
        ),
    ] {
        let step = x(&format!("/steps/b/output{pointer}"));
        let faults = faults_on(&Shop::stocked(), &draft(&[step, lookup("b")]));
        assert_eq!(faults, fault.into_iter().collect::<Vec<_>>(), "{pointer}");
    }
}

#[test]
fn a_binding_gives_what_the_input_takes() {
    let with = |pointer: &str| {
        refund(&json!({
            "order": "1",
            "minor": { "$from": format!("/steps/a/output/{pointer}") },
        }))
    };
    check(&draft(&[lookup("a"), with("total")]), []);
    check(
        &draft(&[lookup("a"), with("name")]),
        ["BINDING_TYPE /steps/1/with/minor"],
    );
}

#[test]
fn a_parameter_stands_in_a_playbook_only() {
    check_step(
        act(&json!({ "with": { "x": { "$param": "/order" } } })),
        ["PARAM_OUTSIDE_PLAYBOOK /steps/0/with/x"],
    );
}

#[test]
fn every_number_can_be_represented_exactly() {
    check_step(
        act(&json!({ "with": { "x": 9_007_199_254_740_993_i64, "y": [1e300, 2] } })),
        [
            "NUMBER_NOT_EXACT /steps/0/with/x",
            "NUMBER_NOT_EXACT /steps/0/with/y/0",
        ],
    );
    check_step(
        act(&json!({ "with": { "x": 9_007_199_254_740_992_i64, "y": 0.5 } })),
        [],
    );
}

#[test]
fn a_draft_with_seven_faults_gives_exactly_those_seven() {
    check(
        &draft(&[
            json!({ "id": "a", "uses": "ops/lookup", "with": { "order": 7 } }),
            json!({ "id": "b", "uses": "nobody.knows/it" }),
            json!({ "id": "c", "uses": "ops/act", "needs": ["missing"] }),
            json!({ "id": "d", "uses": "ops/act", "when": "always" }),
            json!({ "id": "e", "uses": "ops/act", "retry": { "maxAttempts": 0 } }),
            json!({ "id": "f", "uses": "ops/act", "with": { "x": { "$from": "/steps/a/output/no" } } }),
            json!({ "id": "a", "uses": "ops/act" }),
        ]),
        [
            "INPUT_INVALID /steps/0/with/order",
            "UNKNOWN_SKILL /steps/1/uses",
            "UNKNOWN_STEP /steps/2/needs/0",
            "NOT_SUPPORTED_YET /steps/3/when",
            "RETRY_INVALID /steps/4/retry",
            "BINDING_UNKNOWN_OUTPUT /steps/5/with/x",
            "STEP_ID_DUPLICATE /steps/6/id",
        ],
    );
}

#[test]
fn findings_say_what_to_do() {
    let draft = draft(&[json!({ "id": "a", "uses": "ops/none" })]);
    let source = Source::Draft {
        draft: &draft,
        origin: PlanSource::Intent,
    };
    let refused = compile(source, &workspace(), &Shop::stocked().catalogue).unwrap_err();
    assert_eq!(
        refused.findings[0].message,
        "`ops` has no action `none`: it has act, lookup, refund"
    );
}

#[test]
fn a_finding_is_the_same_whatever_stands_around_it() {
    let mut shop = Shop::stocked();
    shop.install("other", "1.0.0", &shop::ops());
    let draft = draft(&[json!({ "id": "a", "uses": "none/act" })]);
    assert_eq!(
        faults_on(&shop, &draft),
        faults_on(&Shop::stocked(), &draft)
    );
}

#[test]
fn inputs_that_would_not_fit_into_a_message_are_refused() {
    let large = "x".repeat(300 * 1024);
    check_step(
        act(&json!({ "with": { "text": large } })),
        ["INPUT_TOO_LARGE /steps/0/with"],
    );
}

#[test]
fn a_draft_with_more_faults_than_anyone_reads_tells_the_first_ones() {
    let faults = faults_on(
        &Shop::stocked(),
        &draft(&[act(&json!({ "needs": vec![1; 100_000] }))]),
    );
    assert_eq!(faults.len(), domain::draft::FINDINGS_MAX + 1);
    assert_eq!(
        faults
            .iter()
            .filter(|it| it.starts_with("TOO_MANY_FINDINGS"))
            .count(),
        1
    );
}
