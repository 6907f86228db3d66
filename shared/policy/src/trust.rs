//! Whether a trust document says one clear thing.

use std::collections::BTreeMap;

use contracts::bundle::{BundleFinding, Trust};

use crate::fault::Fault;

/// A key's name is compared, shown and logged.
const KEY_ID_CHARS_MAX: usize = 200;

pub fn findings(trust: &Trust) -> Vec<BundleFinding> {
    let mut findings = publishers(trust);
    findings.extend(keys(trust));
    findings.extend(names_and_periods(trust));
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
        // It is the first of its set.
        if publisher.provenance_prefixes.contains("") {
            let path = format!("/trust/publishers/{index}/provenancePrefixes/0");
            findings.push(Fault::ProvenancePrefixEmpty.at(path));
        }
    }
    findings
}

fn names_and_periods(trust: &Trust) -> Vec<BundleFinding> {
    let mut findings = Vec::new();
    for (publisher, entry) in trust.publishers.iter().enumerate() {
        for (index, key) in entry.keys.iter().enumerate() {
            let path = format!("/trust/publishers/{publisher}/keys/{index}");
            let name = key.key_id.as_deref();
            if name.is_some_and(|name| name.is_empty() || name.chars().count() > KEY_ID_CHARS_MAX) {
                let max = KEY_ID_CHARS_MAX;
                findings.push(Fault::KeyIdMalformed { max }.at(format!("{path}/keyId")));
            }
            if let (Some(from), Some(until)) = (key.not_before, key.not_after)
                && until < from
            {
                findings.push(Fault::KeyNeverTrusted.at(format!("{path}/notAfter")));
            }
        }
    }
    findings
}

fn keys(trust: &Trust) -> Vec<BundleFinding> {
    let mut findings = Vec::new();
    // By bytes: the same key may be written in several ways.
    let mut seen: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    for (publisher, entry) in trust.publishers.iter().enumerate() {
        for (index, key) in entry.keys.iter().enumerate() {
            let path = format!("/trust/publishers/{publisher}/keys/{index}/publicKey");
            match skills::key::public_key_from_text(&key.public_key) {
                Err(error) => {
                    let error = error.to_string();
                    findings.push(Fault::KeyMalformed { error }.at(path));
                }
                Ok(parsed) => {
                    if let Some(other) = seen.get(parsed.bytes()) {
                        let other = other.clone();
                        findings.push(Fault::KeyDuplicate { other }.at(path));
                    } else {
                        seen.insert(parsed.bytes().to_vec(), path);
                    }
                }
            }
        }
    }
    findings
}
