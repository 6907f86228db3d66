use std::collections::BTreeSet;

use contracts::{
    bundle::{Trust, TrustedKey, TrustedPublisher},
    ids::{SkillKey, SkillVersion},
    manifest::{SkillManifest, VerificationReport},
    time::Timestamp,
};
use domain::catalogue::EntryPoint;
use serde_json::{Value, json};
use skills::{
    fault::{Code, http_status},
    key::{keygen, public_key_text},
    signature::{Validity, sign},
    verify::{Request, Runtime, verify, verify_on},
};

/// A request that is in order, until a test spoils it.
struct Case {
    /// Before it is signed.
    manifest: Value,
    signer: [u8; 32],
    validity: Validity,
    /// After it is signed.
    tamper: fn(&mut Value),
    key: &'static str,
    version: &'static str,
    artifact_digest: &'static str,
    trust: Trust,
    runtime: Runtime<'static>,
    now: &'static str,
}

const SIGNER: [u8; 32] = [7; 32];
const NOW: &str = "2030-06-01T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn trusted(signer: [u8; 32], not_after: Option<&str>) -> TrustedKey {
    TrustedKey {
        public_key: public_key_text(&keygen(signer).verifying_key()).unwrap(),
        not_after: not_after.map(at),
    }
}

fn publisher(provenances: &[&str], keys: Vec<TrustedKey>) -> TrustedPublisher {
    TrustedPublisher {
        id: "acme".to_owned(),
        provenances: provenances.iter().map(ToString::to_string).collect(),
        keys,
    }
}

fn in_order() -> Case {
    Case {
        manifest: json!({
            "schemaVersion": "1.0.0",
            "skill": { "key": "acme.orders", "version": "1.2.0", "entryPoint": "nats:orders" },
            "publisher": { "id": "acme", "provenance": "ci:acme/orders" },
            "artifact": { "digest": "sha256:ab" },
            "compatibility": {
                "contractsSpec": { "minVersion": "1.0.0", "maxVersion": "1.9.9" },
                "controlPlaneFeature": { "minVersion": "1.0.0" },
                "requiredCapabilities": [
                    { "key": "control-plane.core" },
                    { "key": "control-plane.approval", "version": "1.0.0" },
                ],
            },
            "metadata": {
                "actions": {
                    "refund": {
                        "input": { "type": "object", "properties": { "amount": { "type": "integer" } } },
                        "output": { "type": "object" },
                        "effect": "money",
                        "risk": "medium",
                        "amount": { "minor": "/amount", "currency": "/currency" },
                        "retry": { "maxAttempts": 2 },
                        "timeoutMs": 1000,
                    },
                },
                "playbooks": {
                    "refund": {
                        "phrases": ["refund order"],
                        "params": { "type": "object" },
                        "draft": { "steps": [{ "id": "refund", "uses": "acme.orders/refund" }] },
                    },
                },
            },
        }),
        signer: SIGNER,
        validity: Validity {
            issued_at: Some(at("2030-05-01T00:00:00Z")),
            expires_at: Some(at("2031-05-01T00:00:00Z")),
        },
        tamper: |_| (),
        key: "acme.orders",
        version: "1.2.0",
        artifact_digest: "sha256:ab",
        trust: Trust {
            publishers: vec![publisher(&["ci:acme/orders"], vec![trusted(SIGNER, None)])],
        },
        runtime: Runtime::this_build(),
        now: NOW,
    }
}

impl Case {
    fn verified(&self) -> VerificationReport {
        let unsigned: SkillManifest = serde_json::from_value(self.manifest.clone()).unwrap();
        // What has no canonical form cannot be signed; then the signature is of something else.
        let signed = sign(&unsigned, &keygen(self.signer), self.validity).unwrap_or_else(|_| {
            let plain = SkillManifest {
                metadata: None,
                ..unsigned.clone()
            };
            let signature = sign(&plain, &keygen(self.signer), self.validity)
                .unwrap()
                .signature;
            SkillManifest {
                signature,
                ..unsigned
            }
        });
        let mut value = serde_json::to_value(signed).unwrap();
        (self.tamper)(&mut value);
        let manifest: SkillManifest = serde_json::from_value(value).unwrap();
        let key: SkillKey = self.key.parse().unwrap();
        let version: SkillVersion = self.version.parse().unwrap();
        let request = Request {
            skill_key: &key,
            version: &version,
            artifact_digest: self.artifact_digest,
            manifest: &manifest,
        };
        verify_on(&self.runtime, &request, &self.trust, at(self.now))
    }
}

#[track_caller]
fn check(spoil: impl FnOnce(&mut Case), expected: &[&str]) {
    let mut case = in_order();
    spoil(&mut case);
    let report = case.verified();
    let found: Vec<_> = report
        .issues
        .iter()
        .map(|issue| issue.code.as_str())
        .collect();
    assert_eq!(found, expected, "{:#?}", report.issues);
    assert_eq!(report.verified, expected.is_empty());
}

/// `check` for a change of one member of the manifest before it is signed.
#[track_caller]
fn check_manifest(pointer: &str, value: Value, expected: &[&str]) {
    check(
        |case| *case.manifest.pointer_mut(pointer).unwrap() = value,
        expected,
    );
}

const MANIFEST: &[&str] = &["MANIFEST_INVALID"];

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
    check_manifest("/metadata", json!({ "actoins": {} }), MANIFEST);
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
        json!({ "actions": {}, "description": "x", "playbooks": {}, "größe": 1 }),
        json!({ "playbooks": { "pläne": {} } }),
    ] {
        check_manifest(
            "/metadata",
            metadata,
            &["MANIFEST_INVALID", "MANIFEST_INVALID"],
        );
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
fn the_artifact_is_the_one_that_was_signed() {
    check(
        |case| case.artifact_digest = "sha256:AB",
        &["ARTIFACT_DIGEST_MISMATCH"],
    );
}

#[test]
fn an_unsigned_manifest_is_refused() {
    check(
        |case| {
            case.tamper = |manifest| {
                manifest.as_object_mut().unwrap().remove("signature");
            };
        },
        &["SIGNATURE_MISSING"],
    );
}

#[test]
fn a_change_after_signing_is_found() {
    for tamper in [
        (|m| m["metadata"]["actions"]["refund"]["effect"] = json!("read")) as fn(&mut Value),
        |m| m["publisher"]["repositoryUrl"] = json!("https://example.com"),
        |m| m["compatibility"]["controlPlaneFeature"] = json!({}),
        |m| m["metadata"]["description"] = Value::String(String::new()),
    ] {
        check(|case| case.tamper = tamper, &["SIGNATURE_INVALID"]);
    }
}

#[test]
fn only_a_whole_ed25519_signature_counts() {
    for tamper in [
        (|m| m["signature"]["algorithm"] = json!("rsa-pss-sha256")) as fn(&mut Value),
        |m| m["signature"]["signature"] = json!("AAAA"),
        |m| m["signature"]["signature"] = json!("not base64"),
        |m| m["signature"]["publicKey"] = json!("AAAA"),
        // The identity point, for which a signature of zeros holds by the plain equation.
        |m| {
            m["signature"]["publicKey"] = json!("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        },
    ] {
        check(|case| case.tamper = tamper, &["SIGNATURE_INVALID"]);
    }
}

#[test]
fn a_signature_ends_when_it_says_so() {
    check(
        |case| case.validity.expires_at = Some(at(NOW)),
        &["SIGNATURE_EXPIRED"],
    );
    check(
        |case| case.validity.expires_at = Some(at("2030-06-01T12:00:00.001Z")),
        &[],
    );
}

#[test]
fn a_signature_from_the_future_is_refused_beyond_the_skew_of_clocks() {
    check(
        |case| case.validity.issued_at = Some(at("2030-06-01T12:06:00Z")),
        &["SIGNATURE_INVALID"],
    );
    check(
        |case| case.validity.issued_at = Some(at("2030-06-01T12:04:00Z")),
        &[],
    );
}

#[test]
fn an_empty_trust_document_trusts_nobody() {
    check(
        |case| case.trust = Trust::default(),
        &["PUBLISHER_UNTRUSTED"],
    );
}

#[test]
fn another_publisher_is_not_trusted_with_a_trusted_key() {
    check_manifest("/publisher/id", json!("evil"), &["PUBLISHER_UNTRUSTED"]);
}

#[test]
fn a_key_is_trusted_by_its_bytes_only() {
    check(|case| case.signer = [8; 32], &["KEY_UNTRUSTED"]);
    check(
        |case| case.trust.publishers[0].keys.clear(),
        &["KEY_UNTRUSTED"],
    );
    check(
        |case| case.trust.publishers[0].keys[0].public_key = "a name".to_owned(),
        &["KEY_UNTRUSTED"],
    );
    // The name of a trusted key says nothing.
    check(
        |case| {
            case.signer = [8; 32];
            case.tamper = |m| m["signature"]["keyId"] = json!("acme-1");
        },
        &["KEY_UNTRUSTED"],
    );
    // Naming the trusted key over a signature by another does not hold.
    check(
        |case| {
            case.signer = [8; 32];
            case.tamper = |m| {
                let key = public_key_text(&keygen(SIGNER).verifying_key()).unwrap();
                m["signature"]["publicKey"] = json!(key);
            };
        },
        &["SIGNATURE_INVALID"],
    );
}

#[test]
fn a_retired_key_is_not_trusted_whatever_the_signature_says_of_its_age() {
    check(
        |case| {
            case.trust.publishers[0].keys = vec![trusted(SIGNER, Some("2030-06-01T11:59:59Z"))];
            case.validity.issued_at = Some(at("2020-01-01T00:00:00Z"));
        },
        &["KEY_UNTRUSTED"],
    );
    check(
        |case| case.trust.publishers[0].keys = vec![trusted(SIGNER, Some(NOW))],
        &[],
    );
}

#[test]
fn provenance_is_accepted_as_written_or_not_at_all() {
    check(
        |case| case.trust.publishers[0].provenances = BTreeSet::new(),
        &["PROVENANCE_UNTRUSTED"],
    );
    check_manifest(
        "/publisher/provenance",
        json!("ci:acme/orders-fork"),
        &["PROVENANCE_UNTRUSTED"],
    );
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
        .map(|code| (code.as_str(), http_status(code.as_str())))
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
