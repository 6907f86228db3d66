//! A provider's public keys (JWKS), and what they are used for.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::{Map, Value};
use skills::key::public_key_from_text;

use super::{Invalid, document::Algorithm};
use crate::http::body;

/// Of a key set: hundreds of keys, where a provider has two or three.
pub const BYTES_MAX: usize = 256 * 1024;

const KEYS_MAX: usize = 100;

/// Below it, a modulus is within reach of who has much to spend.
const RSA_BITS_MIN: usize = 2048;

/// What a provider publishes, as far as it is of use here.
#[derive(Default)]
pub struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    /// The only one it may be used for, where it says so.
    algorithm: Option<String>,
    /// Or why it cannot be used.
    public: Result<Public, &'static str>,
}

enum Public {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// An uncompressed point.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("it is not a JSON object with an array `keys`")]
    Form,
    #[error("it has more than {BYTES_MAX} bytes")]
    TooLong,
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
}

impl Keys {
    /// Keys that cannot be used are kept, to be able to say so.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() > BYTES_MAX {
            return Err(Unreadable::TooLong);
        }
        let members = body::parse(bytes).map_err(|_| Unreadable::Form)?;
        let keys = members.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or(Unreadable::Form)?;
        if keys.len() > KEYS_MAX {
            return Err(Unreadable::TooMany);
        }
        let objects = keys.iter().filter_map(Value::as_object);
        Ok(Self(
            objects
                .filter(|key| is_to_verify(key))
                .map(Key::read)
                .collect(),
        ))
    }

    pub fn count(&self) -> usize {
        self.0.iter().filter(|key| key.public.is_ok()).count()
    }

    /// Those that cannot be used, each with the reason.
    pub fn faults(&self) -> impl Iterator<Item = (Option<&str>, &'static str)> {
        let faulty = |key: &'_ Key| key.public.as_ref().err().copied();
        self.0
            .iter()
            .filter_map(move |key| Some((key.id.as_deref(), faulty(key)?)))
    }

    pub fn has(&self, id: Option<&str>) -> bool {
        id.is_none_or(|id| self.0.iter().any(|key| key.id.as_deref() == Some(id)))
    }

    /// A token that names no key is held against the only one that could have signed it.
    pub fn verify(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), Invalid> {
        let named = |key: &&Key| id.is_none() || key.id.as_deref() == id;
        let mut candidates = self.0.iter().filter(named).peekable();
        if candidates.peek().is_none() {
            return Err(Invalid::UnknownKey);
        }
        let verdicts: Vec<bool> = candidates
            .filter_map(|key| key.verify(algorithm, signed, signature))
            .collect();
        match (id, verdicts.as_slice()) {
            (_, []) => Err(Invalid::UnfitKey),
            (None, [_, _, ..]) => Err(Invalid::UnknownKey),
            (_, verdicts) if verdicts.contains(&true) => Ok(()),
            (_, _) => Err(Invalid::Signature),
        }
    }
}

impl Key {
    fn read(members: &Map<String, Value>) -> Self {
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        Self {
            id: text("kid").map(str::to_owned),
            algorithm: text("alg").map(str::to_owned),
            public: Public::read(members),
        }
    }

    /// Nothing where it is not for this algorithm.
    fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> Option<bool> {
        let own = self.algorithm.as_deref();
        if own.is_some_and(|own| Algorithm::parse(own) != Some(algorithm)) {
            return None;
        }
        self.public
            .as_ref()
            .ok()?
            .verify(algorithm, signed, signature)
    }
}

impl Public {
    /// Nothing where such a key is not for this algorithm.
    fn verify(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> Option<bool> {
        let verified = match (self, algorithm) {
            (Self::Rsa(key), Algorithm::Rs256) => {
                key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
            }
            (Self::Rsa(key), Algorithm::Ps256) => {
                key.verify(&RSA_PSS_2048_8192_SHA256, signed, signature)
            }
            (Self::P256(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
            }
            (Self::Ed25519(point), Algorithm::EdDsa) => {
                UnparsedPublicKey::new(&ED25519, point).verify(signed, signature)
            }
            (Self::Rsa(_) | Self::P256(_) | Self::Ed25519(_), _) => return None,
        };
        Some(verified.is_ok())
    }

    fn read(members: &Map<String, Value>) -> Result<Self, &'static str> {
        const ENCODING: &str = "its numbers are not base64url";
        if ["d", "k"].iter().any(|name| members.contains_key(*name)) {
            return Err("it is a secret: publish the public half only");
        }
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let number = |name: &str| {
            let encoded = text(name).ok_or(ENCODING)?;
            URL_SAFE_NO_PAD.decode(encoded).map_err(|_| ENCODING)
        };
        let coordinate = |name: &str| {
            let bytes = number(name)?;
            if bytes.len() == 32 {
                Ok(bytes)
            } else {
                Err("a coordinate has 32 bytes")
            }
        };
        match (text("kty"), text("crv")) {
            (Some("RSA"), _) => {
                let n = without_zeros(number("n")?);
                if bits(&n) < RSA_BITS_MIN {
                    return Err("an RSA key has at least 2048 bits");
                }
                let e = without_zeros(number("e")?);
                Ok(Self::Rsa(RsaPublicKeyComponents { n, e }))
            }
            (Some("EC"), Some("P-256")) => {
                let mut point = vec![4];
                point.extend(coordinate("x")?);
                point.extend(coordinate("y")?);
                Ok(Self::P256(point))
            }
            (Some("OKP"), Some("Ed25519")) => {
                let point = coordinate("x")?;
                public_key_from_text(&STANDARD.encode(&point))
                    .map_err(|_| "it is no point, or one of small order, which proves nothing")?;
                Ok(Self::Ed25519(point))
            }
            (_, _) => Err("its kind is not one of RSA, P-256 and Ed25519"),
        }
    }
}

/// Keys to encrypt with are of no interest.
fn is_to_verify(members: &Map<String, Value>) -> bool {
    let usage = members.get("use");
    let operations = members.get("key_ops");
    usage.is_none_or(|usage| usage == "sig")
        && operations.is_none_or(|operations| {
            let listed = operations.as_array().map(Vec::as_slice).unwrap_or_default();
            listed.iter().any(|operation| operation == "verify")
        })
}

fn without_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}

fn bits(number: &[u8]) -> usize {
    let first = number.first().map_or(0, |first| first.leading_zeros());
    (number.len() * 8).saturating_sub(first as usize)
}
