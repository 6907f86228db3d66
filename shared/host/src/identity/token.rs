//! A token taken apart, and nothing of it believed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{Invalid, document::Algorithm};
use crate::http::body;

/// Looked at before anything is parsed. Tokens with dozens of roles have two or three kilobytes.
pub const BYTES_MAX: usize = 8 * 1024;

/// Names of keys are thumbprints or a few words.
const KID_CHARS_MAX: usize = 256;

/// A JWS in compact form: `<header>.<claims>.<signature>`.
pub struct Token<'a> {
    /// What the signature is over.
    pub signed: &'a [u8],
    pub signature: Vec<u8>,
    pub header: Header,
    pub claims: Value,
}

pub struct Header {
    pub algorithm: Algorithm,
    pub key: Option<String>,
    pub kind: Option<String>,
}

/// Whether it has the form of a signed token, good or not.
pub fn is_alike(text: &str) -> bool {
    text.contains('.')
}

impl<'a> Token<'a> {
    pub fn parse(text: &'a str) -> Result<Self, Invalid> {
        if text.len() > BYTES_MAX {
            return Err(Invalid::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Invalid::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(Invalid::Form)?;
        Ok(Self {
            signed: signed.as_bytes(),
            signature: decoded(signature)?,
            header: Header::read(&object(header)?)?,
            claims: Value::Object(object(claims)?),
        })
    }
}

impl Header {
    /// What else a header may hold, such as a key or where to find one, is of no interest.
    fn read(members: &Map<String, Value>) -> Result<Self, Invalid> {
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Invalid::Form),
        };
        if members.contains_key("crit") {
            return Err(Invalid::Critical);
        }
        let algorithm = text("alg")?.ok_or(Invalid::Algorithm)?;
        let key = text("kid")?;
        if key.as_ref().is_some_and(|key| key.len() > KID_CHARS_MAX) {
            return Err(Invalid::UnknownKey);
        }
        Ok(Self {
            algorithm: Algorithm::parse(&algorithm).ok_or(Invalid::Algorithm)?,
            key,
            kind: text("typ")?,
        })
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Invalid> {
    body::parse(&decoded(part)?).map_err(|_| Invalid::Form)
}

fn decoded(part: &str) -> Result<Vec<u8>, Invalid> {
    match URL_SAFE_NO_PAD.decode(part) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        Ok(_) | Err(_) => Err(Invalid::Form),
    }
}
