//! Against what JavaScript itself makes of the same input: `vectors/make.js` wrote the vectors.

use contracts::{canonical::Digest, manifest::SkillManifest};
use serde::Deserialize;
use serde_json::{Value, json};
use skills::{
    canonical::{NoCanonicalForm, Unsettled, canonical_bytes, compare, digest, json_bytes},
    signature::{Validity, sign},
};

#[derive(Deserialize)]
pub struct Vectors {
    order: Vec<String>,
    documents: Vec<Document>,
    pub signatures: Vec<SignedByNode>,
}

#[derive(Deserialize)]
struct Document {
    text: String,
    canonical: String,
    sha256: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedByNode {
    pub private_key_pem: String,
    pub public_key_pem: String,
    pub public_key_spki: String,
    pub public_key_raw: String,
    pub unsigned: SkillManifest,
    pub sha256: Digest,
    pub signature: String,
}

pub fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../vectors/vectors.json")).unwrap()
}

#[test]
fn keys_are_ordered_as_locale_compare_orders_them() {
    let order = vectors().order;
    for (position, left) in order.iter().enumerate() {
        for (other, right) in order.iter().enumerate() {
            // Only other keys than array indices keep the order they are sorted into.
            if left.parse::<u32>().is_err() && right.parse::<u32>().is_err() {
                let expected = Ok(position.cmp(&other));
                assert_eq!(compare(left, right), expected, "{left:?} against {right:?}");
            }
        }
    }
}

#[test]
fn documents_have_the_bytes_that_javascript_writes() {
    for document in vectors().documents {
        let value: Value = serde_json::from_str(&document.text).unwrap();
        let bytes = json_bytes(&value).unwrap();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            document.canonical
        );
        assert_eq!(Digest::of(&bytes), document.sha256);
    }
}

#[test]
fn manifests_have_the_digest_that_javascript_signs() {
    for vector in vectors().signatures {
        assert_eq!(digest(&vector.unsigned).unwrap(), vector.sha256);
    }
}

#[test]
fn the_signature_is_not_part_of_what_is_signed() {
    let vector = vectors().signatures.remove(0);
    let key = skills::key::private_key_from_pem(&vector.private_key_pem).unwrap();
    let signed = sign(&vector.unsigned, &key, Validity::default()).unwrap();
    assert_eq!(canonical_bytes(&signed), canonical_bytes(&vector.unsigned));
    assert_eq!(signed.signature.unwrap().signature, vector.signature);
}

#[test]
fn a_signature_by_node_holds_for_our_bytes() {
    for vector in vectors().signatures {
        let key = skills::key::public_key_from_text(&vector.public_key_pem).unwrap();
        let signature = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            &vector.signature,
        )
        .unwrap();
        let signed = canonical_bytes(&vector.unsigned).unwrap();
        assert_eq!(key.verify(&signed, &signature), Ok(()));
    }
}

#[test]
fn keys_without_an_order_that_all_agree_on_are_refused_with_their_place() {
    let refused = |left: &str, right: &str, unsettled| {
        let value = json!({ "a": [{ left: 1, right: 2 }] });
        let (path, left, right) = ("/a/0".to_owned(), left.to_owned(), right.to_owned());
        let expected = NoCanonicalForm::Keys {
            path,
            left,
            right,
            unsettled,
        };
        assert_eq!(json_bytes(&value), Err(expected));
    };
    refused("住所", "名前", Unsettled::Ideographs);
    refused("e\u{301}", "é", Unsettled::Equal);
    assert!(json_bytes(&json!({ "straße": 1, "strasse": 2, "tab\t": 3 })).is_ok());
}

#[test]
fn a_number_without_exact_form_is_refused_with_its_place() {
    for text in [
        "9007199254740993",
        "18446744073709551615",
        "-9007199254740993",
    ] {
        let value = json!({ "a/b": [0, serde_json::from_str::<Value>(text).unwrap()] });
        match json_bytes(&value) {
            Err(NoCanonicalForm::Number { path, .. }) => assert_eq!(path, "/a~1b/1"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn the_order_of_members_in_the_source_does_not_matter() {
    let one: Value = serde_json::from_str(r#"{"b":{"y":1,"x":2},"a":[]}"#).unwrap();
    let other: Value = serde_json::from_str(r#"{ "a": [], "b": {"x": 2, "y": 1} }"#).unwrap();
    assert_eq!(json_bytes(&one), json_bytes(&other));
}
