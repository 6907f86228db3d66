//! The key sets of identity providers (JWKS).

use host::identity::{
    document::Algorithm,
    keys::{BYTES_MAX, Keys},
};

use crate::Reached;

pub const PROPERTIES: &[&str] = &["a key set"];

pub fn holds(bytes: &[u8]) -> Reached {
    let Ok(keys) = Keys::parse(bytes) else {
        return Reached::new();
    };
    assert!(bytes.len() <= BYTES_MAX);
    assert!(keys.count() + keys.faults().count() <= 100);
    let algorithms = ["RS256", "PS256", "ES256", "EdDSA"].map(Algorithm::parse);
    for algorithm in algorithms.map(Option::unwrap) {
        for signature in [&[][..], &[0; 64], &[1; 256]] {
            assert!(
                keys.verify(None, algorithm, b"signed", signature).is_err(),
                "anybody's signature is good"
            );
        }
    }
    assert!(keys.has(None));
    Reached::from(["a key set"])
}
