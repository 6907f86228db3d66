//! Signing a manifest, and checking what its signature says.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use contracts::{
    manifest::{ManifestSignature, SkillManifest},
    time::Timestamp,
};
use ed25519_dalek::{Signer, SigningKey};

use crate::{
    canonical::{NoCanonicalForm, canonical_bytes},
    fault::Fault,
    key::{self, Algorithm, BadSignature, InvalidPublicKey, PublicKey},
};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("the manifest has no canonical form")]
    NoCanonicalForm(#[from] NoCanonicalForm),
    #[error("the public key cannot be written")]
    Key(#[from] InvalidPublicKey),
}

/// How long a signature is offered for. Neither instant is under the signature, so a receiver
/// may only refuse because of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validity {
    pub issued_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
}

/// The manifest with a signature by `key`, in place of any it had.
pub fn sign(
    manifest: &SkillManifest,
    key: &SigningKey,
    validity: Validity,
) -> Result<SkillManifest, SignError> {
    let signature = key.sign(&canonical_bytes(manifest)?);
    Ok(SkillManifest {
        signature: Some(ManifestSignature {
            algorithm: Algorithm::Ed25519.as_str().to_owned(),
            signature: STANDARD.encode(signature.to_bytes()),
            public_key: key::public_key_text(&key.verifying_key())?,
            key_id: None,
            issued_at: validity.issued_at,
            expires_at: validity.expires_at,
            metadata: None,
        }),
        ..manifest.clone()
    })
}

/// The key of a signature in a supported form, whoever it belongs to.
pub(crate) fn key_of(signature: &ManifestSignature) -> Result<PublicKey, Fault> {
    let stated = Algorithm::named(&signature.algorithm)
        .ok_or_else(|| Fault::Algorithm(signature.algorithm.chars().take(40).collect()))?;
    let key = key::public_key_from_text(&signature.public_key).map_err(Fault::SignatureKey)?;
    if key.algorithm() != stated {
        return Err(Fault::AlgorithmOfAnotherKey {
            stated,
            key: key.algorithm(),
        });
    }
    Ok(key)
}

/// Whether `key` made this signature over `signed`.
pub(crate) fn check(
    signature: &ManifestSignature,
    key: &PublicKey,
    signed: &[u8],
) -> Result<(), Fault> {
    let bytes = STANDARD
        .decode(&signature.signature)
        .map_err(|_| Fault::SignatureForm)?;
    key.verify(signed, &bytes).map_err(|bad| match bad {
        BadSignature::Length { expected } => Fault::SignatureLength {
            expected,
            found: bytes.len(),
        },
        BadSignature::Mismatch => Fault::SignatureMismatch,
    })
}
