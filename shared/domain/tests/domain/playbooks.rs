//! Playbooks: by name, by phrase, with parameters.

use contracts::{events::planner::PlanSource, ids::WorkspaceId};
use domain::compile::{Compiled, Source, compile, playbook_of};
use serde_json::{Value, json};

use super::kit::{Input, Shop, shop, submission, submitted, workspace};

/// `ops` with the playbook `refund`.
fn with_playbook() -> Value {
    let mut metadata = shop::ops();
    metadata["playbooks"] = json!({
        "refund": {
            "phrases": ["Give me my money back", " "],
            "params": {
                "type": "object",
                "properties": {
                    "order": { "type": "string" },
                    "minor": { "type": "integer" },
                },
                "required": ["order"],
            },
            "draft": { "steps": [{
                "id": "refund",
                "uses": "ops/refund",
                "with": {
                    "order": { "$param": "/order" },
                    "minor": { "$param": "/minor" },
                    "key": { "$secret": "bank" },
                },
            }]},
        },
    });
    metadata
}

fn stocked() -> Shop {
    let mut shop = Shop::stocked();
    shop.install("ops", "1.1.0", &with_playbook());
    shop
}

/// What an intent with this text and metadata compiles to, or its faults.
fn compiled(shop: &Shop, text: &str, metadata: &Value) -> Result<Option<Compiled>, Vec<String>> {
    let workspace = workspace();
    let words = |findings: Vec<contracts::plan::Finding>| {
        findings
            .iter()
            .map(|finding| format!("{} {}", finding.code, finding.path))
            .collect::<Vec<_>>()
    };
    let source = playbook_of(text, metadata.as_object(), &workspace, &shop.catalogue);
    match source.map_err(words)? {
        None => Ok(None),
        Some(source) => compile(source, &workspace, &shop.catalogue)
            .map(Some)
            .map_err(|refused| words(refused.findings)),
    }
}

fn named(name: &str, params: &Value) -> Value {
    json!({ "playbook": name, "params": params })
}

#[track_caller]
fn refused<const N: usize>(shop: &Shop, metadata: &Value, expected: [&str; N]) {
    let faults = compiled(shop, "", metadata).unwrap_err();
    assert_eq!(faults, expected);
}

#[test]
fn a_playbook_is_taken_by_its_name_and_filled_in() {
    let params = json!({ "order": "A-1", "minor": 500 });
    for name in ["refund", "ops/refund"] {
        let compiled = compiled(&stocked(), "", &named(name, &params))
            .unwrap()
            .unwrap();
        assert_eq!(
            compiled.plan.steps[0].with,
            json!({ "order": "A-1", "minor": 500, "key": { "$secret": "bank" } })
        );
        let PlanSource::Playbook { skill, name, .. } = &compiled.source else {
            panic!("{:?}", compiled.source);
        };
        assert_eq!((skill.as_str(), name.as_str()), ("ops", "refund"));
    }
}

#[test]
fn a_playbook_is_taken_by_a_phrase_whatever_its_case() {
    let params = json!({ "params": { "order": "A-1", "minor": 500 } });
    let text = "Hello! please GIVE me my Money Back, now";
    assert!(compiled(&stocked(), text, &params).unwrap().is_some());
    assert!(compiled(&stocked(), "hello", &params).unwrap().is_none());
}

#[test]
fn other_parameters_are_another_source_of_the_same_playbook() {
    let source = |minor: i64| {
        let params = json!({ "order": "A-1", "minor": minor });
        compiled(&stocked(), "", &named("refund", &params))
            .unwrap()
            .unwrap()
            .source
    };
    let (one, two) = (source(1), source(2));
    assert_ne!(one, two);
    let digests = |source: PlanSource| match source {
        PlanSource::Playbook {
            digest,
            params_digest,
            ..
        } => (digest, params_digest),
        other => panic!("{other:?}"),
    };
    let ((of_one, params_one), (of_two, params_two)) = (digests(one), digests(two));
    assert_eq!(of_one, of_two);
    assert_ne!(params_one, params_two);
}

#[test]
fn a_playbook_that_is_not_installed_or_not_named_by_a_text_is_unknown() {
    for name in [json!("none"), json!("other/refund"), json!(7)] {
        refused(
            &stocked(),
            &json!({ "playbook": name }),
            ["UNKNOWN_PLAYBOOK /metadata/playbook"],
        );
    }
}

#[test]
fn a_playbook_of_a_disabled_version_is_not_there() {
    let mut shop = stocked();
    shop.disable("ops", Some("1.1.0"));
    refused(
        &shop,
        &named("refund", &json!({})),
        ["UNKNOWN_PLAYBOOK /metadata/playbook"],
    );
}

#[test]
fn a_name_or_a_phrase_that_fits_several_playbooks_is_ambiguous() {
    let mut shop = stocked();
    shop.install("shop", "1.0.0", &with_playbook());
    let params = json!({ "order": "A-1", "minor": 500 });
    refused(
        &shop,
        &named("refund", &params),
        ["PLAYBOOK_AMBIGUOUS /metadata/playbook"],
    );
    let by_phrase = compiled(&shop, "give me my money back", &json!({ "params": params }));
    assert_eq!(
        by_phrase.unwrap_err(),
        ["PLAYBOOK_AMBIGUOUS /metadata/playbook"]
    );
    assert!(
        compiled(&shop, "", &named("shop/refund", &params))
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_shared_playbook_is_there_unless_the_workspace_has_its_own() {
    let mut shop = Shop::stocked();
    shop.install_in(&WorkspaceId::global(), "shared", "1.0.0", &with_playbook());
    let params = json!({ "order": "A-1", "minor": 500 });
    assert!(
        compiled(&shop, "", &named("refund", &params))
            .unwrap()
            .is_some()
    );
    shop.install_in(&WorkspaceId::global(), "ops", "9.0.0", &with_playbook());
    // `ops` of the workspace has no playbook; the shared one of that name is not looked at.
    assert!(compiled(&shop, "", &named("ops/refund", &params)).is_err());
    let other: WorkspaceId = "other".parse().unwrap();
    let metadata = named("refund", &params);
    let elsewhere = playbook_of("", metadata.as_object(), &other, &shop.catalogue);
    assert!(matches!(elsewhere, Err(findings) if findings[0].code == "PLAYBOOK_AMBIGUOUS"));
}

#[test]
fn parameters_fit_their_schema() {
    refused(
        &stocked(),
        &named("refund", &json!({ "order": 7, "minor": 5 })),
        [
            "PARAMS_INVALID /metadata/params/order",
            "INPUT_INVALID /steps/0/with/order",
        ],
    );
}

#[test]
fn a_parameter_that_is_missing_is_one_fault() {
    refused(
        &stocked(),
        &named("refund", &json!({ "order": "A-1" })),
        ["PARAM_MISSING /steps/0/with/minor"],
    );
    refused(
        &stocked(),
        &named("refund", &json!({ "minor": 5 })),
        [
            "PARAMS_INVALID /metadata/params",
            "PARAM_MISSING /steps/0/with/order",
        ],
    );
}

#[test]
fn parameters_are_data_and_name_no_parameter() {
    let params = json!({ "order": "A-1", "minor": { "$param": "/order" } });
    let faults = compiled(&stocked(), "", &named("refund", &params)).unwrap_err();
    assert_eq!(
        faults,
        [
            "PARAMS_INVALID /metadata/params/minor",
            "PARAM_OUTSIDE_PLAYBOOK /steps/0/with/minor"
        ]
    );
}

#[test]
fn a_playbook_whose_schema_cannot_be_used_is_invalid() {
    let mut metadata = with_playbook();
    metadata["playbooks"]["refund"]["params"] = json!({ "type": 7 });
    let mut shop = Shop::stocked();
    shop.install("ops", "1.1.0", &metadata);
    refused(
        &shop,
        &named("refund", &json!({ "order": "A-1", "minor": 5 })),
        ["PLAYBOOK_INVALID /metadata/params"],
    );
}

#[test]
fn an_intent_that_names_a_playbook_is_planned_by_it() {
    let mut submission = submission(None);
    submission.text = "give me my money back".to_owned();
    submission.metadata = json!({ "params": { "order": "A-1", "minor": 5 } })
        .as_object()
        .cloned();
    let world = submitted(submission)
        .catalogue(|shop| shop.install("ops", "1.1.0", &with_playbook()))
        .when(Input::Planner)
        .then(["compiled"])
        .again()
        .then_nothing();
    let source = &world.known().compiled().unwrap().source;
    assert!(matches!(source, PlanSource::Playbook { .. }));
}

#[test]
fn a_source_says_where_its_steps_come_from() {
    let shop = stocked();
    let workspace = workspace();
    let metadata = named("refund", &json!({}));
    let source = playbook_of("", metadata.as_object(), &workspace, &shop.catalogue);
    assert!(matches!(
        source,
        Ok(Some(Source::Playbook { name: "refund", .. }))
    ));
}
