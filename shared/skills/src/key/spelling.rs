//! From the text of a public key to its bytes.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::InvalidPublicKey;

/// The SPKI of an RSA key of 8,192 bits takes 1,500 characters in PEM.
const TEXT_BYTES_MAX: usize = 4096;

const LABEL: &str = "PUBLIC KEY";

/// The bytes in a PEM document or in base64, whatever they are of.
pub(super) fn bytes_of(text: &str) -> Result<Vec<u8>, InvalidPublicKey> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(InvalidPublicKey::Form);
    }
    let text = text.trim();
    let body = match text.strip_prefix("-----BEGIN ") {
        Some(rest) => &pem_body(rest)?,
        None => text,
    };
    STANDARD.decode(body).map_err(|_| InvalidPublicKey::Form)
}

/// The base64 of the one document of a PEM text, after `-----BEGIN `.
fn pem_body(rest: &str) -> Result<String, InvalidPublicKey> {
    let (label, rest) = rest.split_once("-----").ok_or(InvalidPublicKey::Form)?;
    if label.contains("PRIVATE KEY") {
        return Err(InvalidPublicKey::Private);
    }
    if label != LABEL {
        return Err(InvalidPublicKey::Label(label.chars().take(40).collect()));
    }
    let body = rest
        .strip_suffix("-----END PUBLIC KEY-----")
        .filter(|body| !body.contains('-'))
        .ok_or(InvalidPublicKey::Form)?;
    Ok(body.chars().filter(|c| !c.is_ascii_whitespace()).collect())
}
