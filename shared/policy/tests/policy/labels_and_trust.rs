use contracts::{bundle::Trust, plan::Verdict};
use expect_test::expect;
use policy::{
    facts::of_step,
    judge::{judge_plan, judge_step},
};
use serde_json::{Value, json};

use crate::{
    verdicts::{check, line, lines},
    world::{
        bundle, catalogue, engine, everything_is_permitted, facts, plan, shipped, shipped_bundle,
        trusting, workspace,
    },
};

fn labelled() -> [(&'static str, &'static str, Value); 4] {
    let amount = |minor: i64| json!({ "amount": { "minor": minor, "currency": "EUR" } });
    [
        ("large", "desk/charge", amount(50_001)),
        ("post", "desk/post", json!({})),
        ("small", "desk/charge", amount(1250)),
        ("unstated", "desk/top-up", json!({})),
    ]
}

#[test]
fn a_label_counts_like_the_effect_of_its_name() {
    check(
        &shipped(),
        "do it",
        &labelled(),
        expect![[r#"
        assist high, requires approval
          large: assist high [1 of grant:execution.approve in 24 h naming the hash] by labels-need-a-human, large-amounts-are-high-risk, money-needs-a-human, reads-run-by-themselves
            it is labelled as moving money or reaching the outside: a human approves
            the amount is above `large_amount_minor`, or not known
            moving money needs a human's approval
            reading changes nothing
          post: assist medium [1 of grant:execution.approve in 24 h] by labels-need-a-human, low-risk-writes-run-by-themselves, outside-effects-need-a-human
            it is labelled as moving money or reaching the outside: a human approves
            a write of low risk stays inside and can be undone
            what reaches the outside needs a human's approval
          small: assist medium [1 of grant:execution.approve in 24 h] by labels-need-a-human, money-needs-a-human, reads-run-by-themselves
            it is labelled as moving money or reaching the outside: a human approves
            moving money needs a human's approval
            reading changes nothing
          unstated: assist high [1 of grant:execution.approve in 24 h naming the hash] by labels-need-a-human, large-amounts-are-high-risk, low-risk-writes-run-by-themselves, money-needs-a-human
            it is labelled as moving money or reaching the outside: a human approves
            the amount is above `large_amount_minor`, or not known
            a write of low risk stays inside and can be undone
            moving money needs a human's approval
    "#]],
    );
}

#[test]
fn a_label_makes_the_tier_whatever_the_policies_say() {
    check(
        &everything_is_permitted(),
        "do it",
        &labelled(),
        expect![[r#"
            assist high, requires approval
              large: autonomous medium by all
                policy `all` permits it
              post: autonomous medium by all
                policy `all` permits it
              small: autonomous medium by all
                policy `all` permits it
              unstated: assist high [1 of grant:execution.approve in 24 h naming the hash] by all
                policy `all` permits it
                high risk never runs without a human's approval: it moves an amount of money that is not stated
        "#]],
    );
}

#[test]
fn a_publisher_that_is_not_trusted_any_more_is_blocked() {
    let mut without = shipped_bundle();
    without.trust = Trust::default();
    let steps = [
        ("built-in", "core.echo/echo", json!({})),
        ("look", "orders/lookup", json!({})),
        (
            "then",
            "notes/add",
            json!({ "x": { "$from": "/steps/look/output" } }),
        ),
    ];
    check(
        &engine(&without),
        "do it",
        &steps,
        expect![[r#"
        blocked low
          built-in: autonomous low by reads-run-by-themselves
            reading changes nothing
          look: blocked low
            its publisher `acme` is not trusted by the active bundle; add it to the bundle's trust, or use another skill
          then: blocked low (dynamic)
            its publisher `acme` is not trusted by the active bundle; add it to the bundle's trust, or use another skill
    "#]],
    );
}

#[test]
fn taking_trust_away_blocks_what_was_judged_before() {
    let plan = plan(&[("note", "notes/add", json!({ "x": 1 }))]);
    let facts = facts("do it", &plan);
    let id = "note".parse().unwrap();
    let step = of_step(&plan, &id, &json!({ "x": 1 }), &workspace(), &catalogue()).unwrap();
    let provisional = &judge_plan(Some(&shipped()), &facts, &plan).steps[&id];
    assert_eq!(provisional.verdict, Verdict::Autonomous);

    let mut other = shipped_bundle();
    other.trust = trusting("someone-else");
    let judged = judge_step(Some(&engine(&other)), &facts, &id, &step, provisional);
    expect![[r#"
        blocked low
            its publisher `acme` is not trusted by the active bundle; add it to the bundle's trust, or use another skill"#]].assert_eq(&line(&judged));
}

#[test]
fn nobody_passes_for_the_built_in_publisher() {
    let plan = plan(&[("note", "notes/add", json!({}))]);
    let mut facts = facts("do it", &plan);
    for step in facts.steps.values_mut() {
        step.publisher = "core".to_owned();
    }
    let engine = engine(&bundle(
        r#"@id("all") permit (principal, action, resource);"#,
    ));
    expect![[r#"
        blocked low
          note: blocked low
            its publisher `core` is not trusted by the active bundle; add it to the bundle's trust, or use another skill
    "#]].assert_eq(&lines(&judge_plan(Some(&engine), &facts, &plan)));
}
