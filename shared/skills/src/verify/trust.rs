//! Whether the manifest is signed, and by whom.

use contracts::{
    bundle::{Trust, TrustedKey, TrustedPublisher},
    manifest::{ManifestSignature, SkillManifest},
    time::Timestamp,
};

use crate::{
    canonical,
    fault::Fault,
    key::{self, PublicKey},
    signature,
};

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

/// What a signature says of its own time. It is not under the signature, so it only counts against
/// it.
pub(super) fn signed_instants(
    manifest: &SkillManifest,
    trust: &Trust,
    now: Timestamp,
    faults: &mut Vec<Fault>,
) {
    let Some(given) = &manifest.signature else {
        return;
    };
    if let Some(issued_at) = given.issued_at
        && issued_at > now.plus_ms(CLOCK_SKEW_MS_MAX)
    {
        faults.push(Fault::SignedLater { issued_at, now });
    }
    let allowed =
        publisher_of(manifest, trust).is_some_and(|publisher| publisher.allow_expired_signatures);
    if let Some(expires_at) = given.expires_at
        && expires_at <= now
        && !allowed
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
    let Some(trusted) = publisher_of(manifest, trust) else {
        let id = &manifest.publisher.id;
        faults.push(Fault::Publisher(id.chars().take(200).collect()));
        return;
    };
    // Without a usable key there is a finding already, and nobody to look for.
    if let Some(signature) = &manifest.signature
        && let Ok(signer) = signature::key_of(signature)
    {
        key(trusted, signature, &signer, now, faults);
    }
    let provenance = &manifest.publisher.provenance;
    let mut prefixes = trusted.provenance_prefixes.iter();
    if !trusted.provenances.contains(provenance)
        && !prefixes.any(|prefix| provenance.starts_with(prefix.as_str()))
    {
        faults.push(Fault::Provenance {
            provenance: provenance.chars().take(200).collect(),
            publisher: trusted.id.clone(),
        });
    }
}

fn publisher_of<'a>(manifest: &SkillManifest, trust: &'a Trust) -> Option<&'a TrustedPublisher> {
    let id = &manifest.publisher.id;
    trust.publishers.iter().find(|known| known.id == *id)
}

/// A key is retired by the clock of the control plane: what a signature says of its own age is
/// not under the signature.
fn key(
    publisher: &TrustedPublisher,
    signature: &ManifestSignature,
    signer: &PublicKey,
    now: Timestamp,
    faults: &mut Vec<Fault>,
) {
    let publisher_id = || publisher.id.clone();
    let Some(key) = publisher.keys.iter().find(|key| is_key(key, signer)) else {
        faults.push(Fault::Key(publisher_id()));
        return;
    };
    if let Some(not_before) = key.not_before
        && now < not_before
    {
        faults.push(Fault::KeyNotYet {
            publisher: publisher_id(),
            not_before,
        });
    }
    if let Some(not_after) = key.not_after
        && not_after < now
    {
        faults.push(Fault::KeyRetired {
            publisher: publisher_id(),
            not_after,
        });
    }
    if let (Some(stated), Some(trusted)) = (&signature.key_id, &key.key_id)
        && stated != trusted
    {
        faults.push(Fault::KeyName {
            stated: stated.chars().take(200).collect(),
            trusted: trusted.clone(),
        });
    }
}

/// By its bytes: the spelling of a key does not matter, and a key that cannot be used is nobody's.
fn is_key(trusted: &TrustedKey, signer: &PublicKey) -> bool {
    key::public_key_from_text(&trusted.public_key).is_ok_and(|key| key == *signer)
}
