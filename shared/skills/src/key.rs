//! Ed25519 keys as people and documents write them: public keys as SPKI or raw, private keys as
//! PKCS #8 in PEM.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{
    SigningKey, VerifyingKey,
    pkcs8::{
        DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
        spki::der::{pem::LineEnding, zeroize::Zeroizing},
    },
};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicKey {
    #[error(
        "a public key is the SPKI of an Ed25519 key in PEM or base64, or its 32 raw bytes in base64"
    )]
    Form,
    /// With such a key a signature can be made that holds for any message.
    #[error("the public key is a point of small order, which proves nothing; make another key")]
    Weak,
}

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

/// Any of the three forms a manifest or a trust document may hold.
pub fn public_key_from_text(text: &str) -> Result<VerifyingKey, InvalidPublicKey> {
    let key = parse(text.trim()).ok_or(InvalidPublicKey::Form)?;
    if key.is_weak() {
        return Err(InvalidPublicKey::Weak);
    }
    Ok(key)
}

fn parse(text: &str) -> Option<VerifyingKey> {
    if text.starts_with("-----BEGIN") {
        return VerifyingKey::from_public_key_pem(text).ok();
    }
    let bytes = STANDARD.decode(text).ok()?;
    match <[u8; 32]>::try_from(bytes.as_slice()) {
        Ok(raw) => VerifyingKey::from_bytes(&raw).ok(),
        Err(_) => VerifyingKey::from_public_key_der(&bytes).ok(),
    }
}
