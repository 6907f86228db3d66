//! Whether the manifest is signed, and by whom.

use contracts::{
    bundle::{Trust, TrustedKey, TrustedPublisher},
    manifest::SkillManifest,
    time::Timestamp,
};
use ed25519_dalek::VerifyingKey;

use crate::{canonical, fault::Fault, key, signature};

/// Clocks of a publisher and of the control plane may differ by this much.
const CLOCK_SKEW_MS_MAX: u64 = 5 * 60 * 1000;

pub(super) fn signature(manifest: &SkillManifest, faults: &mut Vec<Fault>) {
    let Some(given) = &manifest.signature else {
        faults.push(Fault::Unsigned);
        return;
    };
    // A manifest without canonical form has its own finding, and nothing to check here.
    let checked = signature::key_of(given).and_then(|key| {
        canonical::canonical_bytes(manifest)
            .map_or(Ok(()), |signed| signature::check(given, &key, &signed))
    });
    faults.extend(checked.err());
}

pub(super) fn signed_instants(manifest: &SkillManifest, now: Timestamp, faults: &mut Vec<Fault>) {
    let Some(given) = &manifest.signature else {
        return;
    };
    if let Some(issued_at) = given.issued_at
        && issued_at > now.plus_ms(CLOCK_SKEW_MS_MAX)
    {
        faults.push(Fault::SignedLater { issued_at, now });
    }
    if let Some(expires_at) = given.expires_at
        && expires_at <= now
    {
        faults.push(Fault::SignatureExpired(expires_at));
    }
}

pub(super) fn publisher(
    manifest: &SkillManifest,
    trust: &Trust,
    now: Timestamp,
    faults: &mut Vec<Fault>,
) {
    let id = &manifest.publisher.id;
    let Some(trusted) = trust.publishers.iter().find(|known| known.id == *id) else {
        faults.push(Fault::Publisher(id.chars().take(200).collect()));
        return;
    };
    // Without a usable key there is a finding already, and nobody to look for.
    if let Some(Ok(signer)) = manifest.signature.as_ref().map(signature::key_of) {
        faults.extend(key_fault(trusted, &signer, now));
    }
    let provenance = &manifest.publisher.provenance;
    if !trusted.provenances.contains(provenance) {
        faults.push(Fault::Provenance {
            provenance: provenance.chars().take(200).collect(),
            publisher: id.clone(),
        });
    }
}

/// A key is retired by the clock of the control plane: what a signature says of its own age is
/// not under the signature.
fn key_fault(publisher: &TrustedPublisher, signer: &VerifyingKey, now: Timestamp) -> Option<Fault> {
    let Some(key) = publisher.keys.iter().find(|key| is_key(key, signer)) else {
        return Some(Fault::Key(publisher.id.clone()));
    };
    key.not_after
        .filter(|not_after| *not_after < now)
        .map(|not_after| Fault::KeyRetired {
            publisher: publisher.id.clone(),
            not_after,
        })
}

/// By its bytes: the spelling of a key does not matter, and a key that cannot be used is nobody's.
fn is_key(trusted: &TrustedKey, signer: &VerifyingKey) -> bool {
    key::public_key_from_text(&trusted.public_key)
        .is_ok_and(|key| key.as_bytes() == signer.as_bytes())
}
