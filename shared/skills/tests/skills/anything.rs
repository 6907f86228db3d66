//! Whatever is sent, it is answered: with findings, and without a panic.

use contracts::{bundle::Trust, manifest::SkillManifest, time::Timestamp};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Map, Value, json};
use skills::{
    canonical::{compare, json_bytes},
    key::{private_key_from_pem, public_key_from_text},
    verify::{Request, verify},
};

use crate::foreign::FOREIGN;

/// The same inputs at each run.
#[track_caller]
fn always<S: Strategy>(cases: u32, strategy: S, holds: impl Fn(S::Value)) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[17; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let run = runner.run(&strategy, |value| {
        holds(value);
        Ok(())
    });
    run.unwrap();
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,12}",
        "[0-9]{1,11}",
        "[一-龥a-zé\u{300}-\u{310}]{0,6}",
        Just("__proto__".to_owned()),
    ]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..6)
                .prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// A manifest of the table in which some places hold something else.
fn manifest() -> impl Strategy<Value = Value> {
    const PLACES: &[&str] = &[
        "/schemaVersion",
        "/skill/key",
        "/skill/version",
        "/skill/entryPoint",
        "/publisher/id",
        "/publisher/provenance",
        "/publisher/repositoryUrl",
        "/artifact/digest",
        "/artifact/files/0/path",
        "/artifact/files/0/size",
        "/compatibility/contractsSpec/minVersion",
        "/compatibility/requiredCapabilities/0/version",
        "/metadata/description",
        "/metadata/actions",
        "/metadata/actions/read",
        "/metadata/actions/read/input",
        "/metadata/playbooks",
        "/signature/algorithm",
        "/signature/signature",
        "/signature/publicKey",
        "/signature/keyId",
        "/signature/metadata",
    ];
    let change = (
        prop::sample::select(PLACES),
        prop_oneof![json(), text().prop_map(Value::from)],
    );
    let changes = prop::collection::vec(change, 0..4);
    (0..FOREIGN.cases.len(), changes).prop_map(|(index, changes)| {
        let mut manifest = FOREIGN.cases[index].manifest.clone();
        for (place, value) in changes {
            if let Some(member) = manifest.pointer_mut(place) {
                *member = value;
            }
        }
        manifest
    })
}

#[test]
fn any_manifest_is_answered_and_read_as_it_was_written() {
    let now: Timestamp = "2031-03-01T12:00:00Z".parse().unwrap();
    let (key, version) = ("acme.weather".parse().unwrap(), "2.1.0".parse().unwrap());
    always(1500, manifest(), |value| {
        let Ok(manifest) = serde_json::from_value::<SkillManifest>(value.clone()) else {
            return;
        };
        let request = Request {
            skill_key: &key,
            version: &version,
            artifact_digest: "sha256:5e",
            manifest: &manifest,
        };
        for trust in [&Trust::default(), &FOREIGN.trust] {
            let report = verify(&request, trust, now);
            assert_eq!(report.verified, report.issues.is_empty());
        }
        let again = serde_json::to_value(&manifest).unwrap();
        let unsigned = |mut value: Value| {
            value["signature"] = Value::Null;
            value
        };
        assert_eq!(unsigned(again), unsigned(value));
    });
}

#[test]
fn any_document_has_one_canonical_form_or_none() {
    always(3000, json(), |value| {
        if let Ok(bytes) = json_bytes(&value) {
            let read: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(json_bytes(&read).as_ref(), Ok(&bytes), "{value}");
        }
    });
}

#[test]
fn the_order_of_any_keys_is_one() {
    let keys = prop::collection::vec(text(), 3);
    always(5000, keys, |keys| {
        let (a, b, c) = (&keys[0], &keys[1], &keys[2]);
        assert_eq!(
            compare(a, b),
            compare(b, a).map(std::cmp::Ordering::reverse)
        );
        if let (Ok(left), Ok(right), Ok(whole)) = (compare(a, b), compare(b, c), compare(a, c))
            && left == right
        {
            assert_eq!(whole, left, "{a:?} {b:?} {c:?}");
        }
    });
}

#[test]
fn any_text_is_a_key_or_none() {
    always(5000, text(), |text| {
        let _ = public_key_from_text(&text);
        let _ = private_key_from_pem(&text);
    });
    let pem = |label: &str, body: &str| {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    let bytes = prop::collection::vec(any::<u8>(), 0..600);
    always(2000, bytes, |bytes| {
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let _ = public_key_from_text(&body);
        let _ = public_key_from_text(&pem("PUBLIC KEY", &body));
    });
}

/// Keys and signatures of the table with single bytes changed, cut and put in.
#[test]
fn any_spoilt_key_or_signature_is_answered() {
    let now: Timestamp = "2031-03-01T12:00:00Z".parse().unwrap();
    let (key, version) = ("acme.weather".parse().unwrap(), "2.1.0".parse().unwrap());
    let spoilt = (
        0..FOREIGN.cases.len(),
        prop::sample::select(&["publicKey", "signature"][..]),
        any::<prop::sample::Index>(),
        prop_oneof![Just(None), any::<char>().prop_map(Some)],
        any::<bool>(),
    );
    always(1500, spoilt, |(index, member, at, put, keep)| {
        let mut value = FOREIGN.cases[index].manifest.clone();
        let Some(text) = value["signature"][member].as_str() else {
            return;
        };
        let mut characters: Vec<char> = text.chars().collect();
        if characters.is_empty() {
            return;
        }
        let at = at.index(characters.len());
        match (put, keep) {
            (Some(c), true) => characters.insert(at, c),
            (Some(c), false) => characters[at] = c,
            (None, true) => characters.truncate(at),
            (None, false) => drop(characters.remove(at)),
        }
        value["signature"][member] = json!(String::from_iter(characters));
        let manifest: SkillManifest = serde_json::from_value(value).unwrap();
        let request = Request {
            skill_key: &key,
            version: &version,
            artifact_digest: "sha256:5e",
            manifest: &manifest,
        };
        let report = verify(&request, &FOREIGN.trust, now);
        assert_eq!(report.verified, report.issues.is_empty());
    });
}
