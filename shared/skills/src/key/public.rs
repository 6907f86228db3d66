//! Public keys, and the signatures they verify.
//!
//! RSA signatures are RSASSA-PSS with SHA-256 for the message and for MGF1. The length of the salt
//! is read from the signature, as `saltLength: auto` does elsewhere: signers write that of the
//! digest (32 bytes), the longest that fits (the default of Node.js), or none, and each proves as
//! much to a verifier who trusts the key.

use std::fmt;

use ed25519_dalek::{
    VerifyingKey,
    pkcs8::spki::{
        AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef,
        der::{
            Decode as _,
            asn1::{AnyRef, UintRef},
        },
    },
};
use rsa::{BoxedUint, pss, sha2::Sha256, signature::Verifier as _, traits::PublicKeyParts as _};

use super::spelling::bytes_of;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Ed25519,
    RsaPssSha256,
}

impl Algorithm {
    pub const ALL: [Self; 2] = [Self::Ed25519, Self::RsaPssSha256];

    /// As a manifest writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::RsaPssSha256 => "rsa-pss-sha256",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicKey {
    #[error(
        "a public key is the SPKI of an Ed25519 or RSA key in PEM or base64, or the 32 raw bytes \
         of an Ed25519 key in base64"
    )]
    Form,
    #[error("this is a private key, and whoever can read it can sign: make another, and keep it")]
    Private,
    #[error(
        "the PEM holds a `{0}`; write the key as SPKI, which begins with \
         `-----BEGIN PUBLIC KEY-----`"
    )]
    Label(String),
    #[error("keys of the algorithm {0} are not supported; use Ed25519 or RSA")]
    Algorithm(ObjectIdentifier),
    #[error("the parameters of the key's algorithm {0} are not those that its standard asks for")]
    Parameters(ObjectIdentifier),
    /// With such a key a signature can be made that holds for any message.
    #[error("the public key is a point of small order, which proves nothing; make another key")]
    Weak,
    #[error("the modulus of an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, not {0}")]
    RsaSize(usize),
    #[error("the public exponent of an RSA key is odd and from 65537 to 4294967295")]
    RsaExponent,
    #[error("the modulus of the RSA key is even, so it is not a product of two primes")]
    RsaModulus,
}

/// What a signature is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadSignature {
    /// It is not as long as a signature by this key is.
    Length {
        expected: usize,
    },
    Mismatch,
}

/// Less can be factored.
const RSA_BITS_MIN: usize = 2048;

/// Verifying takes time with the square of it, and anyone may send a key.
const RSA_BITS_MAX: usize = 8192;

/// With a smaller one, faults of padding that are harmless otherwise can be used.
const RSA_EXPONENT_MIN: u32 = 65_537;

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// A key that can be used, whoever it belongs to. Keys are equal if their bytes are, however they
/// were spelt.
#[derive(Clone)]
pub struct PublicKey {
    material: Material,
    /// The 32 bytes of an Ed25519 key, the `RSAPublicKey` in DER of an RSA key.
    bytes: Vec<u8>,
}

#[derive(Clone)]
enum Material {
    Ed25519(VerifyingKey),
    Rsa(Box<rsa::PublicKey>),
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey")
            .field(&self.algorithm())
            .finish_non_exhaustive()
    }
}

impl PublicKey {
    pub const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Ed25519(_) => Algorithm::Ed25519,
            Material::Rsa(_) => Algorithm::RsaPssSha256,
        }
    }

    /// What tells keys apart: no two spellings of one key differ in it, and no two keys are alike.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let expected = match &self.material {
            Material::Ed25519(_) => ed25519_dalek::SIGNATURE_LENGTH,
            Material::Rsa(key) => key.size(),
        };
        if signature.len() != expected {
            return Err(BadSignature::Length { expected });
        }
        let holds = match &self.material {
            // Strict: of the many encodings that hold by the plain equation, only one counts.
            Material::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Material::Rsa(key) => {
                let key = pss::VerifyingKey::<Sha256>::new_with_auto_salt_len((**key).clone());
                pss::Signature::try_from(signature)
                    .is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
        };
        if holds {
            Ok(())
        } else {
            Err(BadSignature::Mismatch)
        }
    }
}

/// Any of the forms that a manifest or a trust document may hold.
pub fn public_key_from_text(text: &str) -> Result<PublicKey, InvalidPublicKey> {
    let bytes = bytes_of(text)?;
    if bytes.len() == ed25519_dalek::PUBLIC_KEY_LENGTH {
        return ed25519(&bytes);
    }
    let spki = SubjectPublicKeyInfoRef::from_der(&bytes).map_err(|_| InvalidPublicKey::Form)?;
    let key = spki
        .subject_public_key
        .as_bytes()
        .ok_or(InvalidPublicKey::Form)?;
    let AlgorithmIdentifierRef { oid, parameters } = spki.algorithm;
    // RFC 8410 §3, RFC 3279 §2.3.1, RFC 4055 §3.1. Parameters of RSASSA-PSS would restrict the key
    // to a hash and a salt, and are not looked into.
    match (oid, parameters) {
        (ED25519, None) => ed25519(key),
        (RSA_ENCRYPTION, Some(AnyRef::NULL)) | (RSASSA_PSS, None) => rsa(key),
        (ED25519 | RSA_ENCRYPTION | RSASSA_PSS, _) => Err(InvalidPublicKey::Parameters(oid)),
        (_, _) => Err(InvalidPublicKey::Algorithm(oid)),
    }
}

fn ed25519(bytes: &[u8]) -> Result<PublicKey, InvalidPublicKey> {
    let key = VerifyingKey::try_from(bytes).map_err(|_| InvalidPublicKey::Form)?;
    if key.is_weak() {
        return Err(InvalidPublicKey::Weak);
    }
    Ok(PublicKey {
        material: Material::Ed25519(key),
        bytes: bytes.to_vec(),
    })
}

/// From `RSAPublicKey` of RFC 8017, appendix A.1.1.
fn rsa(bytes: &[u8]) -> Result<PublicKey, InvalidPublicKey> {
    let (modulus, exponent) = AnyRef::from_der(bytes)
        .and_then(|key| {
            key.sequence(|members| Ok((UintRef::decode(members)?, UintRef::decode(members)?)))
        })
        .map_err(|_| InvalidPublicKey::Form)?;
    let bits = bits(modulus.as_bytes());
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(InvalidPublicKey::RsaSize(bits));
    }
    let exponent = exponent
        .as_bytes()
        .iter()
        .try_fold(0_u32, |value, byte| {
            Some(value.checked_mul(256)? + u32::from(*byte))
        })
        .filter(|exponent| *exponent >= RSA_EXPONENT_MIN && exponent % 2 == 1)
        .ok_or(InvalidPublicKey::RsaExponent)?;
    let modulus = BoxedUint::from_be_slice_vartime(modulus.as_bytes());
    let key = rsa::PublicKey::new(modulus, BoxedUint::from(exponent))
        .map_err(|_| InvalidPublicKey::RsaModulus)?;
    Ok(PublicKey {
        material: Material::Rsa(Box::new(key)),
        bytes: bytes.to_vec(),
    })
}

fn bits(number: &[u8]) -> usize {
    let zeros = number.first().map_or(0, |first| first.leading_zeros());
    (number.len() * 8).saturating_sub(zeros as usize)
}
