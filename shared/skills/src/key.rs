//! Keys as people and documents write them: public keys as SPKI or raw, private keys of Ed25519 as
//! PKCS #8 in PEM.

mod public;
mod spelling;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{
    SigningKey, VerifyingKey,
    pkcs8::{
        DecodePrivateKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
        spki::der::{pem::LineEnding, zeroize::Zeroizing},
    },
};

pub use public::{Algorithm, BadSignature, InvalidPublicKey, PublicKey, public_key_from_text};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a private key is an Ed25519 key as PKCS #8 in PEM (`-----BEGIN PRIVATE KEY-----`)")]
pub struct InvalidPrivateKey;

/// A key of 32 bytes from a cryptographic random source.
pub fn keygen(random: [u8; 32]) -> SigningKey {
    SigningKey::from_bytes(&random)
}

/// PKCS #8 version 1, which every tool reads; wiped from memory when dropped.
pub fn private_key_pem(key: &SigningKey) -> Result<Zeroizing<String>, InvalidPrivateKey> {
    let pair = KeypairBytes {
        secret_key: key.to_bytes(),
        public_key: None,
    };
    pair.to_pkcs8_pem(LineEnding::LF)
        .map_err(|_| InvalidPrivateKey)
}

pub fn private_key_from_pem(pem: &str) -> Result<SigningKey, InvalidPrivateKey> {
    SigningKey::from_pkcs8_pem(pem).map_err(|_| InvalidPrivateKey)
}

/// SPKI in base64, on one line.
pub fn public_key_text(key: &VerifyingKey) -> Result<String, InvalidPublicKey> {
    let der = key
        .to_public_key_der()
        .map_err(|_| InvalidPublicKey::Form)?;
    Ok(STANDARD.encode(der.as_bytes()))
}
