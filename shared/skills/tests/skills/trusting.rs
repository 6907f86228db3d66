//! Whom a manifest comes from: artifact, signature, publisher, key, provenance.

use crate::case::{NOW, SIGNER, at, check, check_manifest, trusted};
use contracts::bundle::Trust;
use serde_json::{Value, json};
use skills::key::{keygen, public_key_text};
use std::collections::BTreeSet;

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
fn an_old_trust_document_reads_and_writes_as_before() {
    let old = json!({ "publishers": [{
        "id": "acme",
        "provenances": ["ci:acme/orders"],
        "keys": [{ "publicKey": "AAAA" }, { "publicKey": "BBBB", "notAfter": "2030-01-01T00:00:00.000Z" }],
    }] });
    let trust: Trust = serde_json::from_value(old.clone()).unwrap();
    assert_eq!(serde_json::to_value(&trust).unwrap(), old);
    assert!(!trust.publishers[0].allow_expired_signatures);
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
