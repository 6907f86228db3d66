//! Signing a manifest, and checking what its signature says.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use contracts::{
    manifest::{ManifestSignature, SkillManifest},
    time::Timestamp,
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::{
    canonical::{NoCanonicalForm, canonical_bytes},
    fault::Fault,
    key::{self, InvalidPublicKey},
};

/// The only algorithm.
pub const ALGORITHM: &str = "ed25519";

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
            algorithm: ALGORITHM.to_owned(),
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
pub(crate) fn key_of(signature: &ManifestSignature) -> Result<VerifyingKey, Fault> {
    if signature.algorithm != ALGORITHM {
        return Err(Fault::Algorithm(
            signature.algorithm.chars().take(40).collect(),
        ));
    }
    key::public_key_from_text(&signature.public_key).map_err(Fault::SignatureKey)
}

/// Whether `key` made this signature over `signed`.
pub(crate) fn check(
    signature: &ManifestSignature,
    key: &VerifyingKey,
    signed: &[u8],
) -> Result<(), Fault> {
    let bytes = STANDARD
        .decode(&signature.signature)
        .map_err(|_| Fault::SignatureForm)?;
    let parsed = Signature::from_slice(&bytes).map_err(|_| Fault::SignatureForm)?;
    // Strict: of the many encodings that hold by the plain equation, only one counts.
    key.verify_strict(signed, &parsed)
        .map_err(|_| Fault::SignatureMismatch)
}
