//! What a manifest says of itself.

use crate::case::{MANIFEST, NOW, SIGNER, at, check, check_manifest, in_order};
use contracts::{manifest::SkillManifest, problem};
use domain::catalogue::EntryPoint;
use serde_json::json;
use skills::fault::Code;
use skills::key::keygen;
use skills::signature::{Validity, sign};
use skills::verify::{Request, verify};

#[test]
fn a_manifest_in_order_is_verified() {
    check(|_| (), &[]);
    let report = in_order().verified();
    assert!(report.signature_verified && report.publisher_trusted && report.compatibility_verified);
}

#[test]
fn a_manifest_may_be_as_short_as_the_contract_allows() {
    check(
        |case| {
            case.manifest.as_object_mut().unwrap().remove("metadata");
            case.manifest["compatibility"] = json!({});
            case.validity = Validity::default();
        },
        &[],
    );
}

#[test]
fn every_finding_comes_at_once_in_the_order_of_the_checks() {
    check(
        |case| {
            case.manifest["schemaVersion"] = json!("2.0.0");
            case.manifest["skill"]["entryPoint"] = json!("wasm:orders");
            case.manifest["metadata"]["actions"]["refund"]["amount"]["minor"] = json!("amount");
            case.manifest["compatibility"]["requiredCapabilities"] = json!([{ "key": "teleport" }]);
            case.artifact_digest = "sha256:cd";
            case.validity.expires_at = Some(at(NOW));
            case.trust.publishers.clear();
        },
        &[
            "SCHEMA_VERSION_INVALID",
            "MANIFEST_INVALID",
            "MANIFEST_INVALID",
            "ARTIFACT_DIGEST_MISMATCH",
            "SIGNATURE_EXPIRED",
            "PUBLISHER_UNTRUSTED",
            "CAPABILITY_MISSING",
        ],
    );
}

#[test]
fn an_unknown_schema_version_is_refused() {
    check_manifest("/schemaVersion", json!("1.0"), &["SCHEMA_VERSION_INVALID"]);
}

#[test]
fn the_manifest_is_of_the_skill_that_was_asked_for() {
    check(|case| case.key = "acme.other", MANIFEST);
    check(|case| case.version = "1.2.1", MANIFEST);
}

#[test]
fn nobody_installs_a_skill_of_the_control_plane() {
    for key in ["core.echo", "core"] {
        check(
            |case| {
                case.manifest["skill"]["key"] = json!(key);
                case.key = key;
            },
            MANIFEST,
        );
    }
    check(
        |case| {
            case.manifest["skill"]["key"] = json!("core.echo");
            case.manifest["skill"]["entryPoint"] = json!("builtin:echo");
            case.key = "core.echo";
        },
        MANIFEST,
    );
}

#[test]
fn only_a_relative_nats_name_is_an_entry_point() {
    for entry_point in [
        "orders",
        "nats:",
        "nats:orders.*",
        "nats:orders.>",
        "nats:orders.v1",
        "nats:Orders",
        "nats:orders v1",
        "nats:$JS.API",
        "builtin:echo",
        "https://example.com/skill",
        "wasm:orders",
        "mcp:orders",
        "ftp:orders",
    ] {
        check_manifest("/skill/entryPoint", json!(entry_point), MANIFEST);
    }
    for entry_point in ["nats:orders", "nats:support-orders_2"] {
        check_manifest("/skill/entryPoint", json!(entry_point), &[]);
        let parsed: EntryPoint = entry_point.parse().unwrap();
        assert_eq!(parsed.to_string(), entry_point);
    }
}

#[test]
fn an_action_needs_schemas_that_compile_by_themselves() {
    for schema in [
        json!({ "type": "objekt" }),
        json!({ "$ref": "https://example.com/order.json" }),
        json!({ "$ref": "#/$defs/missing" }),
        json!({ "pattern": "(" }),
        json!({ "pattern": "^(?=a)b" }),
        json!([]),
    ] {
        check_manifest("/metadata/actions/refund/input", schema.clone(), MANIFEST);
        check_manifest("/metadata/actions/refund/output", schema.clone(), MANIFEST);
        check_manifest("/metadata/playbooks/refund/params", schema, MANIFEST);
    }
    check_manifest("/metadata/actions/refund/input", json!(true), &[]);
}

#[test]
fn metadata_is_understood_or_refused() {
    check_manifest("/metadata", json!({ "their": ["own"] }), &[]);
    check_manifest(
        "/metadata/actions/refund/effect",
        json!("harmless"),
        MANIFEST,
    );
    check_manifest("/metadata/actions/refund/risk", json!("none"), MANIFEST);
    check_manifest("/metadata/actions", json!({ "no space": {} }), MANIFEST);
}

#[test]
fn amounts_are_found_by_json_pointers() {
    for pointer in ["amount", "/a~2", "/a~"] {
        check_manifest(
            "/metadata/actions/refund/amount/minor",
            json!(pointer),
            MANIFEST,
        );
        check_manifest(
            "/metadata/actions/refund/amount/currency",
            json!(pointer),
            MANIFEST,
        );
    }
    check_manifest(
        "/metadata/actions/refund/amount/minor",
        json!("/a~1b/0"),
        &[],
    );
}

#[test]
fn limits_let_a_step_run_and_end() {
    check_manifest("/metadata/actions/refund/timeoutMs", json!(0), MANIFEST);
    check_manifest(
        "/metadata/actions/refund/retry",
        json!({ "maxAttempts": 0 }),
        MANIFEST,
    );
    check_manifest(
        "/metadata/actions/refund/retry",
        json!({ "backoffMs": 500, "backoffMsMax": 100 }),
        MANIFEST,
    );
}

#[test]
fn a_playbook_cannot_claim_every_text_and_has_steps() {
    check_manifest(
        "/metadata/playbooks/refund/phrases",
        json!(["refund", ""]),
        MANIFEST,
    );
    check_manifest(
        "/metadata/playbooks/refund/phrases",
        json!(["  a "]),
        MANIFEST,
    );
    check_manifest(
        "/metadata/playbooks/refund/draft",
        json!({ "steps": [] }),
        MANIFEST,
    );
    check_manifest(
        "/metadata/playbooks/refund/draft",
        json!("refund"),
        MANIFEST,
    );
}

#[test]
fn files_stay_inside_the_artifact() {
    for path in ["../worker", "/worker", "a//b", "a/./b", "a\\b", ""] {
        check(
            |case| {
                case.manifest["artifact"]["files"] =
                    json!([{ "path": path, "digest": "ab", "size": 1 }]);
            },
            MANIFEST,
        );
    }
    let file = json!({ "path": "a/b", "digest": "ab", "size": 1 });
    check(
        |case| case.manifest["artifact"]["files"] = json!([file, file]),
        MANIFEST,
    );
    check(
        |case| case.manifest["artifact"]["files"] = json!([file]),
        &[],
    );
}

#[test]
fn texts_that_are_compared_are_there() {
    check_manifest(
        "/publisher/provenance",
        json!(""),
        &["MANIFEST_INVALID", "PROVENANCE_UNTRUSTED"],
    );
    check(
        |case| {
            case.manifest["artifact"]["digest"] = json!("");
            case.artifact_digest = "";
        },
        MANIFEST,
    );
}

#[test]
fn what_has_no_canonical_form_is_not_verified() {
    for metadata in [
        json!({ "actions": {}, "名前": 1, "住所": 2 }),
        json!({ "own": { "é": 1, "e\u{301}": 2 } }),
    ] {
        check_manifest("/metadata", metadata, MANIFEST);
    }
    check_manifest(
        "/metadata/actions/refund/input",
        json!({ "maximum": 9_007_199_254_740_993_u64 }),
        MANIFEST,
    );
    let mut case = in_order();
    case.manifest["metadata"]["actions"]["refund"]["input"] = json!({ "maximum": u64::MAX });
    assert!(!case.verified().signature_verified);
}

#[test]
fn versions_that_are_too_old_too_new_or_unknown() {
    let spec = "/compatibility/contractsSpec";
    let plane = "/compatibility/controlPlaneFeature";
    check_manifest(
        spec,
        json!({ "minVersion": "1.0.1" }),
        &["CONTRACTS_SPEC_TOO_OLD"],
    );
    check_manifest(
        spec,
        json!({ "maxVersion": "0.9.0" }),
        &["CONTRACTS_SPEC_TOO_NEW"],
    );
    check_manifest(
        plane,
        json!({ "minVersion": "2.0.0" }),
        &["CONTROL_PLANE_TOO_OLD"],
    );
    check_manifest(
        plane,
        json!({ "maxVersion": "1.0.0-rc.1" }),
        &["CONTROL_PLANE_TOO_NEW"],
    );
    check_manifest(spec, json!({ "minVersion": "one" }), MANIFEST);
    check(
        |case| case.runtime.contracts_spec = None,
        &["CONTRACTS_SPEC_VERSION_MISSING"],
    );
    check(
        |case| case.runtime.control_plane = None,
        &["CONTROL_PLANE_VERSION_MISSING"],
    );
}

#[test]
fn capabilities_that_are_not_there() {
    let needed = "/compatibility/requiredCapabilities";
    check_manifest(
        needed,
        json!([{ "key": "control-plane.core", "version": "2.0.0" }, { "key": "teleport" }]),
        &["CAPABILITY_MISSING", "CAPABILITY_MISSING"],
    );
    check(
        |case| case.runtime.capabilities = &[],
        &["CAPABILITY_MISSING", "CAPABILITY_MISSING"],
    );
}

#[test]
fn the_shipped_runtime_is_what_verify_uses() {
    let case = in_order();
    let manifest: SkillManifest = serde_json::from_value(case.manifest.clone()).unwrap();
    let manifest = sign(&manifest, &keygen(SIGNER), Validity::default()).unwrap();
    let request = Request {
        skill_key: &case.key.parse().unwrap(),
        version: &case.version.parse().unwrap(),
        artifact_digest: case.artifact_digest,
        manifest: &manifest,
    };
    assert!(verify(&request, &case.trust, at(NOW)).verified);
}

#[test]
fn messages_are_for_people() {
    let mut case = in_order();
    case.manifest["skill"]["entryPoint"] = json!("https://example.com");
    case.trust.publishers.clear();
    let messages: Vec<_> = case
        .verified()
        .issues
        .into_iter()
        .map(|issue| issue.message)
        .collect();
    assert_eq!(
        messages,
        [
            "entry points `https:` are not supported yet; use `nats:<name>`",
            "publisher `acme` is not in the trust document of the active policy",
        ]
    );
}

#[test]
fn each_code_has_the_status_of_the_contract() {
    let statuses: Vec<_> = Code::ALL
        .iter()
        .map(|code| {
            (
                code.as_str(),
                code.as_str().parse::<problem::Code>().unwrap().http(),
            )
        })
        .collect();
    assert_eq!(
        statuses,
        [
            ("SIGNATURE_INVALID", 400),
            ("SIGNATURE_MISSING", 400),
            ("MANIFEST_INVALID", 400),
            ("SCHEMA_VERSION_INVALID", 400),
            ("PUBLISHER_UNTRUSTED", 403),
            ("KEY_UNTRUSTED", 403),
            ("PROVENANCE_UNTRUSTED", 403),
            ("ARTIFACT_DIGEST_MISMATCH", 409),
            ("SIGNATURE_EXPIRED", 400),
            ("CONTRACTS_SPEC_VERSION_MISSING", 409),
            ("CONTRACTS_SPEC_TOO_OLD", 409),
            ("CONTRACTS_SPEC_TOO_NEW", 409),
            ("CONTROL_PLANE_VERSION_MISSING", 409),
            ("CONTROL_PLANE_TOO_OLD", 409),
            ("CONTROL_PLANE_TOO_NEW", 409),
            ("CAPABILITY_MISSING", 409),
        ]
    );
}
