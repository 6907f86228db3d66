//! Whether a trust document says one clear thing.

use std::collections::BTreeMap;

use contracts::bundle::{BundleFinding, Trust};

use crate::fault::Fault;

pub fn findings(trust: &Trust) -> Vec<BundleFinding> {
    let mut findings = publishers(trust);
    findings.extend(keys(trust));
    findings
}

fn publishers(trust: &Trust) -> Vec<BundleFinding> {
    let mut findings = Vec::new();
    let mut seen = BTreeMap::new();
    for (index, publisher) in trust.publishers.iter().enumerate() {
        let path = format!("/trust/publishers/{index}/id");
        let id = publisher.id.as_str();
        if id.is_empty() || id.trim() != id {
            findings.push(Fault::PublisherMalformed.at(&*path));
        }
        if seen.insert(id, index).is_some() {
            let id = id.to_owned();
            findings.push(Fault::PublisherDuplicate { id }.at(path));
        }
    }
    findings
}

fn keys(trust: &Trust) -> Vec<BundleFinding> {
    let mut findings = Vec::new();
    // By bytes: the same key may be written in several ways.
    let mut seen: BTreeMap<[u8; 32], String> = BTreeMap::new();
    for (publisher, entry) in trust.publishers.iter().enumerate() {
        for (index, key) in entry.keys.iter().enumerate() {
            let path = format!("/trust/publishers/{publisher}/keys/{index}/publicKey");
            match skills::key::public_key_from_text(&key.public_key) {
                Err(error) => {
                    let error = error.to_string();
                    findings.push(Fault::KeyMalformed { error }.at(path));
                }
                Ok(parsed) => {
                    if let Some(other) = seen.get(parsed.as_bytes()) {
                        let other = other.clone();
                        findings.push(Fault::KeyDuplicate { other }.at(path));
                    } else {
                        seen.insert(parsed.to_bytes(), path);
                    }
                }
            }
        }
    }
    findings
}
