//! Bearer tokens, signed and not.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::SigningKey;
use host::{
    identity::{TOKEN_BYTES_MAX, is_alike, keys::Keys, token::Token},
    principals::bearer,
};
use serde_json::json;

use crate::Reached;

pub const PROPERTIES: &[&str] = &["a bearer", "a token", "a good signature"];

/// Whose secret half the corpus was signed with; it guards nothing.
static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let public = SigningKey::from_bytes(&[7; 32]).verifying_key();
    let x = URL_SAFE_NO_PAD.encode(public.as_bytes());
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x }] });
    Keys::parse(keys.to_string().as_bytes()).unwrap()
});

/// The value of `Authorization`.
pub fn holds(bytes: &[u8]) -> Reached {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return Reached::new();
    };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let Ok(text) = bearer(&headers) else {
        return Reached::new();
    };
    let mut reached = Reached::from(["a bearer"]);
    assert!(text.len() >= 32 && !text.contains(' '));
    let Ok(token) = Token::parse(text) else {
        return reached;
    };
    reached.insert("a token");
    assert!(text.len() <= TOKEN_BYTES_MAX);
    assert!(is_alike(text), "a signed token is not taken for one");
    assert_eq!(text.matches('.').count(), 2);
    assert!(token.claims.is_object());
    // Each part has one spelling, so that no token has two.
    let parts = text.split('.').map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        URL_SAFE_NO_PAD.encode(bytes)
    });
    assert_eq!(parts.collect::<Vec<_>>().join("."), text);
    assert!(text.starts_with(std::str::from_utf8(token.signed).unwrap()));
    let kid = token.header.key.as_deref();
    let verify = |signed: &[u8]| KEYS.verify(kid, token.header.algorithm, signed, &token.signature);
    if verify(token.signed).is_ok() {
        assert_eq!(
            serde_json::to_value(token.header.algorithm).unwrap(),
            "EdDSA"
        );
        let mut other = token.signed.to_vec();
        other[0] ^= 1;
        assert!(verify(&other).is_err(), "signed, whatever it says");
        reached.insert("a good signature");
    }
    reached
}
