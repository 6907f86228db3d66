//! Manifests as another implementation signs them: a table that `foreign/make.mjs` wrote with
//! nothing but Node.js. Its keys, its signatures and its canonical bytes are not ours.

use std::{collections::BTreeMap, path::PathBuf, process::Command, sync::LazyLock};

use contracts::{
    bundle::Trust,
    canonical::Digest,
    ids::{SkillKey, SkillVersion},
    manifest::{Optional, SkillManifest, VerificationReport},
    time::Timestamp,
};
use serde::Deserialize;
use serde_json::Value;
use skills::{
    canonical::{Unsettled, canonical_bytes, compare, digest},
    fault::Code,
    key::public_key_from_text,
    verify::{Request, Runtime, verify_on},
};

#[derive(Deserialize)]
pub struct Foreign {
    pub trust: Trust,
    pub cases: Vec<Case>,
    malformed: Vec<Malformed>,
    good: Vec<Good>,
    bad: Vec<Bad>,
    order: Vec<(String, String, i8)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    name: String,
    skill_key: SkillKey,
    version: SkillVersion,
    artifact_digest: String,
    now: Timestamp,
    pub manifest: Value,
    /// None where the manifest has no canonical form.
    digest: Option<Digest>,
    /// Absent where the control plane is this one.
    #[serde(default)]
    contracts_spec: Optional<String>,
    #[serde(default)]
    control_plane: Optional<String>,
    capabilities: Option<[String; 0]>,
    /// Sorted, as often as they are found.
    expected: Vec<String>,
}

#[derive(Deserialize)]
struct Malformed {
    name: String,
    manifest: Value,
}

/// Spellings of one key.
#[derive(Deserialize)]
struct Good {
    algorithm: String,
    texts: Vec<String>,
}

#[derive(Deserialize)]
struct Bad {
    name: String,
    text: String,
}

pub static FOREIGN: LazyLock<Foreign> =
    LazyLock::new(|| serde_json::from_str(include_str!("foreign/cases.json")).unwrap());

impl Foreign {
    /// The text of a key that is none.
    pub fn bad(&self, name: &str) -> &str {
        &self.bad.iter().find(|bad| bad.name == name).unwrap().text
    }
}

/// What the case says of the control plane, or else what this build does.
fn stated<'a>(said: &'a Optional<String>, here: Option<&'a str>) -> Option<&'a str> {
    match said {
        Optional::Absent => here,
        Optional::Null => None,
        Optional::Given(said) => Some(said),
    }
}

fn verified(case: &Case) -> VerificationReport {
    let here = Runtime::this_build();
    let spec = stated(&case.contracts_spec, here.contracts_spec);
    let plane = stated(&case.control_plane, here.control_plane);
    let runtime = Runtime {
        contracts_spec: spec,
        control_plane: plane,
        capabilities: match case.capabilities {
            Some([]) => &[],
            None => here.capabilities,
        },
    };
    let manifest: SkillManifest = serde_json::from_value(case.manifest.clone()).unwrap();
    let request = Request {
        skill_key: &case.skill_key,
        version: &case.version,
        artifact_digest: &case.artifact_digest,
        manifest: &manifest,
    };
    verify_on(&runtime, &request, &FOREIGN.trust, case.now)
}

#[test]
fn each_manifest_has_exactly_the_codes_that_the_table_expects() {
    assert!(FOREIGN.cases.len() >= 300);
    let mut wrong = Vec::new();
    for case in &FOREIGN.cases {
        let report = verified(case);
        let mut found: Vec<_> = report.issues.iter().map(|issue| &issue.code).collect();
        found.sort();
        if found != case.expected.iter().collect::<Vec<_>>() {
            wrong.push(format!("{}: {:?} is {report:#?}", case.name, case.expected));
        }
        assert_eq!(report.verified, case.expected.is_empty());
        let none_of = |codes: &[Code]| {
            let known = |code: &String| codes.iter().any(|known| known.as_str() == code);
            !case.expected.iter().any(known)
        };
        assert_eq!(
            report.signature_verified,
            none_of(&[Code::SignatureMissing, Code::SignatureInvalid]) && case.digest.is_some(),
            "{}",
            case.name
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_of_the_contract_comes_alone_and_together() {
    let mut alone: BTreeMap<&str, usize> = BTreeMap::new();
    let mut together = alone.clone();
    for case in &FOREIGN.cases {
        match case.expected.as_slice() {
            [] => {}
            [code] => *alone.entry(code).or_default() += 1,
            codes => codes
                .iter()
                .for_each(|code| *together.entry(code).or_default() += 1),
        }
    }
    for code in Code::ALL.iter().map(|code| code.as_str()) {
        assert!(alone.contains_key(code), "{code} never comes alone");
        assert!(
            together.contains_key(code),
            "{code} never comes with another"
        );
    }
}

#[test]
fn the_digest_is_that_of_the_bytes_that_were_signed() {
    for case in &FOREIGN.cases {
        let manifest: SkillManifest = serde_json::from_value(case.manifest.clone()).unwrap();
        assert_eq!(digest(&manifest).ok(), case.digest, "{}", case.name);
        // Nothing that was signed is dropped or written otherwise.
        let again = serde_json::to_value(&manifest).unwrap();
        let without_instants = |mut value: Value| {
            if let Some(signature) = value["signature"].as_object_mut() {
                signature.remove("issuedAt");
                signature.remove("expiresAt");
            } else {
                value.as_object_mut().unwrap().remove("signature");
            }
            value
        };
        assert_eq!(
            without_instants(again),
            without_instants(case.manifest.clone()),
            "{}",
            case.name
        );
        let bytes = canonical_bytes(&manifest);
        if let Ok(bytes) = bytes {
            let read: SkillManifest = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(canonical_bytes(&read).unwrap(), bytes, "{}", case.name);
        }
    }
}

#[test]
fn what_is_no_manifest_is_not_read_as_one() {
    for malformed in &FOREIGN.malformed {
        let read = serde_json::from_value::<SkillManifest>(malformed.manifest.clone());
        assert!(read.is_err(), "{}", malformed.name);
    }
}

#[test]
fn a_manifest_that_was_cut_off_is_not_read() {
    let whole = FOREIGN.cases[0].manifest.to_string();
    for (end, _) in whole.char_indices() {
        assert!(serde_json::from_str::<SkillManifest>(&whole[..end]).is_err());
    }
}

#[test]
fn keys_are_told_apart_by_their_bytes() {
    let mut seen: Vec<skills::key::PublicKey> = Vec::new();
    for good in &FOREIGN.good {
        let key = public_key_from_text(&good.texts[0]).unwrap();
        assert_eq!(key.algorithm().as_str(), good.algorithm);
        assert!(!seen.contains(&key));
        for text in &good.texts {
            assert_eq!(public_key_from_text(text).unwrap(), key, "{text}");
        }
        seen.push(key);
    }
    for bad in &FOREIGN.bad {
        assert!(public_key_from_text(&bad.text).is_err(), "{}", bad.name);
    }
}

#[test]
fn keys_are_ordered_as_locale_compare_orders_them_or_not_at_all() {
    let ideograph = |text: &str| {
        use unicode_normalization::UnicodeNormalization as _;
        text.nfkd().any(|c| {
            matches!(c, '\u{2E80}'..='\u{2FDF}' | '\u{3005}'..='\u{303B}' | '\u{3400}'..='\u{9FFF}'
                | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..)
        })
    };
    let mut settled = 0;
    for (left, right, node) in &FOREIGN.order {
        match compare(left, right) {
            Ok(order) => {
                settled += 1;
                assert_eq!(order as i8, *node, "{left:?} {right:?}");
                assert_eq!(compare(right, left), Ok(order.reverse()));
            }
            Err(Unsettled::Equal) => assert_eq!(*node, 0, "{left:?} {right:?}"),
            Err(Unsettled::Ideographs) => {
                assert!(ideograph(left) && ideograph(right), "{left:?} {right:?}");
            }
        }
    }
    assert!(settled * 10 > FOREIGN.order.len() * 8, "{settled}");
}

/// Where Node.js is at hand, it says the same of every case once more.
#[test]
fn the_table_is_what_node_would_write() {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/skills/foreign/make.mjs");
    match Command::new("node").arg(script).arg("--check").output() {
        Ok(output) => assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(_) => eprintln!("node is not installed: the table stands as it was written"),
    }
}
