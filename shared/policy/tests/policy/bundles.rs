use std::{collections::BTreeMap, fmt::Write as _};

use contracts::bundle::{Bundle, BundleFinding, Trust};
use expect_test::{Expect, expect, expect_file};
use policy::{engine::Engine, shipped};
use serde_json::json;

use crate::world::{bundle, engine};

#[track_caller]
fn check(bundle: &Bundle, expected: Expect) {
    let findings = Engine::load(bundle).err();
    // Cedar's own maps have other seeds each time.
    for _ in 0..5 {
        assert_eq!(Engine::load(bundle).err(), findings);
    }
    let mut text = String::new();
    for finding in findings.into_iter().flatten() {
        let BundleFinding {
            path,
            code,
            message,
        } = finding;
        writeln!(text, "{path} {code}: {message}").unwrap();
    }
    expected.assert_eq(&text);
}

#[track_caller]
fn check_policies(policies: &str, expected: Expect) {
    check(&bundle(policies), expected);
}

#[test]
fn the_shipped_bundle_has_no_fault() {
    check(&shipped::default_bundle(), expect![[""]]);
}

#[test]
fn the_engine_version_names_the_cedar_that_is_built_in() {
    let cedar = cedar_policy::get_sdk_version();
    assert!(policy::ENGINE_VERSION.ends_with(&format!("+cedar-{cedar}")));
}

#[test]
fn the_committed_schema_of_thresholds_is_that_of_the_shipped_bundle() {
    let schema = shipped::thresholds_schema(&shipped::default_bundle().thresholds);
    expect_file!["../../../../schemas/policy/thresholds.cedarschema"].assert_eq(&schema);
}

#[test]
fn a_bundle_without_policies_is_accepted() {
    check(&Bundle::default(), expect![[""]]);
}

#[test]
fn text_that_is_not_cedar_is_refused_with_its_line() {
    check_policies(
        "@id(\"a\")\npermit (principal, action, resource)\nwhen { resource. };",
        expect![[r#"
            /policies/test.cedar POLICY_SYNTAX: line 3: unexpected token `}`
        "#]],
    );
}

#[test]
fn every_policy_needs_an_id_of_its_own() {
    check_policies(
        r#"
permit (principal, action, resource) when { context.usesSecrets };
@id("same") permit (principal, action, resource);
@id("same") forbid (principal, action, resource);
@id("not an id") forbid (principal, action, resource);"#,
        expect![[r#"
            /policies/test.cedar POLICY_ID_DUPLICATE: line 4: `@id("same")` is used before, in this file; give each policy its own
            /policies/test.cedar POLICY_ID_MALFORMED: line 5: `@id("not an id")` is not 1 to 128 of letters, digits, `.`, `_` and `-`
            /policies/test.cedar POLICY_ID_MISSING: line 2: a policy has no `@id`; give it one, such as `@id("refunds-need-a-human")`
        "#]],
    );
}

#[test]
fn an_id_is_unique_across_files() {
    let text = "@id(\"same\") permit (principal, action, resource);";
    let policies = ["a/b.cedar", "c.cedar"].map(|file| (file.to_owned(), text.to_owned()));
    let bundle = Bundle {
        policies: policies.into(),
        ..Bundle::default()
    };
    check(
        &bundle,
        expect![[r#"
            /policies/c.cedar POLICY_ID_DUPLICATE: line 1: `@id("same")` is used before, in `a/b.cedar`; give each policy its own
        "#]],
    );
}

#[test]
fn malformed_annotations_are_refused_all_at_once() {
    check_policies(
        r#"
@id("a") @risk("hihg") @quorum("0") @approvers("group:admins") @expires("1 day") @reason("")
permit (principal, action, resource);
@id("b") @qourum("2") @risk @quorum("21") @expires("91d")
permit (principal, action, resource);
@id("c") @quorum("3") @approvers("principal:alice, principal:bob")
permit (principal, action, resource);"#,
        expect![[r#"
            /policies/test.cedar ANNOTATION_MALFORMED: line 2: policy `a`: `@approvers("group:admins")` is malformed; use a list such as `grant:execution.approve, principal:alice`
            /policies/test.cedar ANNOTATION_MALFORMED: line 2: policy `a`: `@expires("1 day")` is malformed; use a time up to 90 days, such as `30m`, `24h` or `7d`
            /policies/test.cedar ANNOTATION_MALFORMED: line 2: policy `a`: `@quorum("0")` is malformed; use a number from 1 to 20
            /policies/test.cedar ANNOTATION_MALFORMED: line 2: policy `a`: `@reason("")` is malformed; say why in 1 to 300 characters on one line
            /policies/test.cedar ANNOTATION_MALFORMED: line 2: policy `a`: `@risk("hihg")` is malformed; use `low`, `medium`, `high` or `blocked`
            /policies/test.cedar ANNOTATION_MALFORMED: line 4: policy `b`: `@expires("91d")` is malformed; use a time up to 90 days, such as `30m`, `24h` or `7d`
            /policies/test.cedar ANNOTATION_MALFORMED: line 4: policy `b`: `@quorum("21")` is malformed; use a number from 1 to 20
            /policies/test.cedar ANNOTATION_MALFORMED: line 4: policy `b`: `@risk("")` is malformed; use `low`, `medium`, `high` or `blocked`
            /policies/test.cedar ANNOTATION_UNKNOWN: line 4: policy `b`: `@qourum` is not known; use `@id`, `@reason`, `@risk`, `@quorum`, `@approvers`, `@expires` or `@description`
            /policies/test.cedar QUORUM_UNREACHABLE: line 6: policy `c`: a quorum of 3 cannot be reached by 2 named approvers
        "#]],
    );
}

#[test]
fn well_formed_annotations_are_accepted() {
    check_policies(
        r#"
@id("a") @risk("high") @quorum("2") @approvers("grant:execution.approve, principal:alice@acme")
@expires("30m") @reason("because") @description("more about it")
permit (principal, action, resource);
@id("b") @quorum("2") @approvers("principal:alice, principal:bob") @expires("90d")
permit (principal, action, resource);"#,
        expect![[""]],
    );
}

#[test]
fn a_threshold_that_is_named_but_missing_is_a_fault() {
    check_policies(
        r#"@id("a") permit (principal, action, resource)
when { context has amount && context.amount.minor < context.thresholds.limit };"#,
        expect![[r#"
            /policies/test.cedar POLICY_INVALID: line 2: for policy `a`, attribute `thresholds.limit` in context for Action::"runAssisted" not found
            /policies/test.cedar POLICY_INVALID: line 2: for policy `a`, attribute `thresholds.limit` in context for Action::"runAutonomous" not found
        "#]],
    );
}

#[test]
fn a_threshold_has_the_name_of_an_identifier_and_an_exact_value() {
    let thresholds = [
        ("ok_1", 5),
        ("is", 5),
        ("1st", 5),
        ("a b", 5),
        ("vast", 1 << 54),
    ];
    let bundle = Bundle {
        thresholds: thresholds
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        ..Bundle::default()
    };
    check(
        &bundle,
        expect![[r#"
        /thresholds/1st THRESHOLD_NAME: `1st` is not a threshold's name: 1 to 64 of letters, digits and `_`, not beginning with a digit, and no Cedar keyword
        /thresholds/a b THRESHOLD_NAME: `a b` is not a threshold's name: 1 to 64 of letters, digits and `_`, not beginning with a digit, and no Cedar keyword
        /thresholds/is THRESHOLD_NAME: `is` is not a threshold's name: 1 to 64 of letters, digits and `_`, not beginning with a digit, and no Cedar keyword
        /thresholds/vast THRESHOLD_RANGE: 18014398509481984 is beyond 2^53
    "#]],
    );
}

#[test]
fn a_policy_that_names_what_does_not_exist_is_refused() {
    check_policies(
        r#"
@id("effect") permit (principal, action, resource) when { resource.effect == Effect::"extern" };
@id("action") permit (principal, action == Action::"run_autonomous", resource);
@id("fact") permit (principal, action, resource) when { context.amuont == 5 };
@id("optional") permit (principal, action, resource) when { context.amount.minor < 5 };
@id("type") permit (principal is Robot, action, resource);
@id("never") forbid (principal, action, resource) when { principal is User && principal is Agent };"#,
        expect![[r#"
            /policies/test.cedar POLICY_INVALID: line 2: for policy `effect`: entity `Effect::"extern"` is of an enumerated entity type, but `"extern"` is not declared as a valid eid; valid entity eids: "read", "write", "external", "money", "irreversible"
            /policies/test.cedar POLICY_INVALID: line 3: for policy `action`, unrecognized action `Action::"run_autonomous"`
            /policies/test.cedar POLICY_INVALID: line 4: for policy `fact`, attribute `amuont` in context for Action::"runAssisted" not found
            /policies/test.cedar POLICY_INVALID: line 4: for policy `fact`, attribute `amuont` in context for Action::"runAutonomous" not found
            /policies/test.cedar POLICY_INVALID: line 5: for policy `optional`, unable to guarantee safety of access to optional attribute `amount` in context for Action::"runAssisted"; try testing for the attribute's presence with `context has amount && ..`
            /policies/test.cedar POLICY_INVALID: line 5: for policy `optional`, unable to guarantee safety of access to optional attribute `amount` in context for Action::"runAutonomous"; try testing for the attribute's presence with `context has amount && ..`
            /policies/test.cedar POLICY_INVALID: line 6: for policy `type`, unrecognized entity type `Robot`
            /policies/test.cedar POLICY_MISLEADING: line 7: for policy `never`, policy is impossible: the policy expression evaluates to false for all valid requests
        "#]],
    );
}

#[test]
fn letters_that_pose_as_others_are_refused() {
    check_policies(
        "@id(\"a\") permit (principal, action, resource) when { resource.skill == \"p\u{430}ypal\" };",
        expect![[r#"
            /policies/test.cedar POLICY_MISLEADING: line 1: for policy `a`, string `"pаypal"` contains mixed scripts
        "#]],
    );
}

#[test]
fn a_template_is_refused() {
    check_policies(
        r#"@id("a") permit (principal == ?principal, action, resource);"#,
        expect![[r#"
            /policies/test.cedar POLICY_TEMPLATE: `a` has a slot such as `?principal`, which is never filled; write a policy without slots
        "#]],
    );
}

#[test]
fn a_schema_of_ones_own_may_add_to_the_shipped_one() {
    let bundle = Bundle {
        schema: format!("{}\nentity Team;\n", shipped::SCHEMA),
        ..shipped::default_bundle()
    };
    check(&bundle, expect![[""]]);
}

#[test]
fn a_schema_of_ones_own_takes_what_is_asked() {
    let bundle = Bundle {
        schema: shipped::SCHEMA.replace("amount?: Amount", "amount: Amount"),
        ..Bundle::default()
    };
    check(
        &bundle,
        expect![[r#"
        /schema SCHEMA_UNSUITABLE: the schema does not take what this build asks: the question cannot be put: context `{flow: {movesMoney: false, readsPersonalData: false, readsSecrets: false, sendsOutside: false, sensitiveDataLeaves: false}, inputSignals: [], intentSignals: [], mode: Mode::"autonomous", thresholds: {}, .. }` is not valid for `Action::"runAutonomous"`; begin with the shipped schema and only add to it
    "#]],
    );
    let bundle = Bundle {
        schema: "entity User;".to_owned(),
        ..Bundle::default()
    };
    check(
        &bundle,
        expect![[r#"
        /schema SCHEMA_UNSUITABLE: the schema does not take what this build asks: the question cannot be put: entity does not conform to the schema: entity `Skill::"probe"` has type `Skill` which is not declared in the schema; begin with the shipped schema and only add to it
    "#]],
    );
    let bundle = Bundle {
        schema: "entity User = {".to_owned(),
        ..Bundle::default()
    };
    check(
        &bundle,
        expect![[r#"
            /schema SCHEMA_INVALID: the schema does not hold together: line 1: error parsing schema: unexpected token `Thresholds`
        "#]],
    );
}

#[test]
fn faults_of_a_schema_come_out_the_same_each_time() {
    let undeclared = "entity A in [B, C, D] = { x: E, y: F, z: G };";
    let bundle = Bundle {
        schema: undeclared.to_owned(),
        ..Bundle::default()
    };
    check(
        &bundle,
        expect![[r#"
        /schema SCHEMA_INVALID: the schema does not hold together: failed to resolve types: B, C, D
    "#]],
    );
    let bundle = Bundle {
        schema: format!("{}{undeclared}\nentity User;", shipped::SCHEMA),
        ..Bundle::default()
    };
    check(
        &bundle,
        expect![[r#"
        /schema SCHEMA_INVALID: the schema does not hold together: line 6: error parsing schema: `User` is declared twice
    "#]],
    );
    let missing = shipped::SCHEMA.replace("channel?: String,", "a: String, b: String, c: Long,");
    let bundle = Bundle {
        schema: missing.replace("publisher: String,", "maker: String, country: String,"),
        ..Bundle::default()
    };
    check(
        &bundle,
        expect![[r#"
        /schema SCHEMA_UNSUITABLE: the schema does not take what this build asks: the question cannot be put: entity does not conform to the schema: expected entity `SkillAction::"probe/probe"` to have attribute `country`, but it does not; begin with the shipped schema and only add to it
    "#]],
    );
}

#[test]
fn a_trust_document_says_one_clear_thing() {
    let spki = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let raw = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let publisher = |id: &str, keys: &[&str]| {
        let keys: Vec<_> = keys.iter().map(|key| json!({ "publicKey": key })).collect();
        json!({ "id": id, "provenances": ["internal"], "keys": keys })
    };
    let trust = |publishers: serde_json::Value| Bundle {
        trust: serde_json::from_value::<Trust>(json!({ "publishers": publishers })).unwrap(),
        ..Bundle::default()
    };
    check(&trust(json!([publisher("acme", &[spki])])), expect![[""]]);
    check(
        &trust(json!([
            publisher("acme", &[spki, "AAAA"]),
            publisher("other", &[raw]),
            publisher("acme", &[]),
            publisher(" ", &[]),
        ])),
        expect![[r#"
            /trust/publishers/0/keys/1/publicKey KEY_MALFORMED: a public key is the SPKI of an Ed25519 or RSA key in PEM or base64, or the 32 raw bytes of an Ed25519 key in base64
            /trust/publishers/1/keys/0/publicKey KEY_DUPLICATE: this key is also at /trust/publishers/0/keys/0/publicKey; a key belongs to one publisher, once
            /trust/publishers/2/id PUBLISHER_DUPLICATE: publisher `acme` stands here twice; put its keys into one entry
            /trust/publishers/3/id PUBLISHER_MALFORMED: a publisher needs an id without white space at its ends
        "#]],
    );
}

#[test]
fn what_a_trust_document_says_of_a_key_can_be_so() {
    let spki = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let trust = json!({ "publishers": [{
        "id": "acme",
        "provenances": [],
        "provenancePrefixes": ["", "ci:acme/"],
        "keys": [{
            "publicKey": spki,
            "keyId": "",
            "notBefore": "2031-01-01T00:00:00Z",
            "notAfter": "2030-01-01T00:00:00Z",
        }],
    }] });
    let bundle = Bundle {
        trust: serde_json::from_value(trust).unwrap(),
        ..Bundle::default()
    };
    check(
        &bundle,
        expect![[r#"
        /trust/publishers/0/keys/0/keyId KEY_ID_MALFORMED: the name of a key is 1 to 200 characters; leave it out where it has none
        /trust/publishers/0/keys/0/notAfter KEY_NEVER_TRUSTED: the key is trusted until before it is trusted from, which is never
        /trust/publishers/0/provenancePrefixes/0 PROVENANCE_PREFIX_EMPTY: an empty prefix accepts every provenance; name what the publisher builds from
    "#]],
    );
}

#[test]
fn faults_of_every_part_come_at_once() {
    let mut bundle = bundle("permit (principal, action, resource) when { context.nothing };");
    bundle
        .policies
        .insert("broken.cedar".to_owned(), "permit".to_owned());
    bundle.thresholds = BTreeMap::from([("in".to_owned(), 1)]);
    bundle.trust = serde_json::from_value(json!({ "publishers": [
        { "id": "acme", "provenances": [], "keys": [{ "publicKey": "no" }] },
    ]}))
    .unwrap();
    check(
        &bundle,
        expect![[r#"
            /policies/broken.cedar POLICY_SYNTAX: line 1: unexpected end of input
            /policies/test.cedar POLICY_ID_MISSING: line 1: a policy has no `@id`; give it one, such as `@id("refunds-need-a-human")`
            /policies/test.cedar POLICY_INVALID: line 1: for policy `test.cedar#policy0`, attribute `nothing` in context for Action::"runAssisted" not found
            /policies/test.cedar POLICY_INVALID: line 1: for policy `test.cedar#policy0`, attribute `nothing` in context for Action::"runAutonomous" not found
            /thresholds/in THRESHOLD_NAME: `in` is not a threshold's name: 1 to 64 of letters, digits and `_`, not beginning with a digit, and no Cedar keyword
            /trust/publishers/0/keys/0/publicKey KEY_MALFORMED: a public key is the SPKI of an Ed25519 or RSA key in PEM or base64, or the 32 raw bytes of an Ed25519 key in base64
        "#]],
    );
}

#[test]
fn a_bundle_too_large_to_review_is_refused() {
    let bundle = bundle(&format!("// {}", "x".repeat(1024 * 1024)));
    check(
        &bundle,
        expect![[r#"
        /policies POLICIES_TOO_LARGE: the policies are 1048579 bytes long together, more than 1048576
    "#]],
    );
}

/// Cedar calls itself for each level: without a bound of ours each of these ends the process.
#[test]
fn what_nests_too_deep_is_refused_before_cedar_reads_it() {
    let permit = |condition: &str| {
        format!("@id(\"deep\") permit (principal, action, resource) when {{ {condition} }};")
    };
    let within = |opening: &str, closing: &str| {
        permit(&(opening.repeat(5_000) + "true" + &closing.repeat(5_000)))
    };
    for deep in [
        within("(", ")"),
        within("[", "]"),
        within("{a: ", "}"),
        within("if true then ", " else false"),
    ] {
        check(
            &bundle(&deep),
            expect![[r#"
        /policies/test.cedar POLICY_SYNTAX: more than 64 brackets or `if`s stand in each other; split it
    "#]],
        );
    }
    for long in [".a", " + 1", " * 1", "[\"a\"]"] {
        let condition = format!("context{}", long.repeat(30_000));
        check(
            &bundle(&permit(&condition)),
            expect![[r#"
        /policies/test.cedar POLICY_SYNTAX: a statement has more than 1500 operators and brackets; split it
    "#]],
        );
    }
    // What stands in a text or in a comment nests nothing.
    let text = format!("\"\\\"{}\" == \"\"", "(".repeat(5_000));
    let said = format!("// {}\n{}", "(".repeat(5_000), permit(&text));
    let findings = Engine::load(&bundle(&said)).err().unwrap_or_default();
    assert!(!findings.iter().any(|it| it.message.contains("split it")));
}

#[test]
fn nor_is_a_schema_that_nests_too_deep_read() {
    let schema = |text: String| Bundle {
        schema: text,
        ..bundle("")
    };
    let nested = "Set<".repeat(5_000) + "Long" + &">".repeat(5_000);
    check(
        &schema(format!("type Deep = {nested};")),
        expect![[r#"
            /schema SCHEMA_INVALID: the schema does not hold together: more than 64 brackets or `if`s stand in each other; split it
        "#]],
    );
    let chain = (0..5_000).map(|n| format!("entity A{n} in [A{}];\n", n + 1));
    check(
        &schema(chain.collect::<String>() + "entity A5000;"),
        expect![[r#"
            /schema SCHEMA_INVALID: the schema does not hold together: there are more than 500 declarations
        "#]],
    );
}

#[test]
fn only_policies_that_can_apply_are_walked() {
    let engine = engine(&bundle(
        r#"
@id("general") permit (principal, action, resource is SkillAction);
@id("skill") permit (principal, action, resource in Skill::"mail");
@id("action") forbid (principal, action == Action::"runAutonomous", resource == SkillAction::"mail/send");
@id("other") permit (principal, action in [Action::"run"], resource == SkillAction::"notes/add");"#,
    ));
    let considered = |skill: &str, action: &str| -> Vec<&str> {
        engine
            .considered(&skill.parse().unwrap(), &action.parse().unwrap())
            .into_iter()
            .collect()
    };
    assert_eq!(considered("mail", "send"), ["action", "general", "skill"]);
    assert_eq!(considered("mail", "fetch"), ["general", "skill"]);
    assert_eq!(considered("notes", "add"), ["general", "other"]);
    assert_eq!(considered("vault", "read"), ["general"]);
}
