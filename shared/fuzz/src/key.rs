//! Keys of publishers, and what they have signed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use skills::key::{private_key_from_pem, private_key_pem, public_key_from_text, public_key_text};

use crate::Reached;

pub const PROPERTIES: &[&str] = &["a private key", "a public key", "a good signature"];

/// The text of a key; after an empty line, where there is one, a signature in base64 in one line,
/// and what was signed.
pub fn holds(bytes: &[u8]) -> Reached {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (key, rest) = match end {
        Some(end) => (&bytes[..end], &bytes[end + 2..]),
        None => (bytes, &[][..]),
    };
    let mut reached = Reached::new();
    let Ok(text) = std::str::from_utf8(key) else {
        return reached;
    };
    if let Ok(private) = private_key_from_pem(text) {
        let pem = private_key_pem(&private).unwrap();
        assert_eq!(private_key_from_pem(&pem).unwrap(), private);
        let public = public_key_text(&private.verifying_key()).unwrap();
        assert!(public_key_from_text(&public).is_ok());
        assert!(public_key_from_text(text).is_err(), "a secret is published");
        reached.insert("a private key");
    }
    let Ok(key) = public_key_from_text(text) else {
        return reached;
    };
    reached.insert("a public key");
    assert!(!text.contains("PRIVATE"));
    assert_eq!(public_key_from_text(text).as_ref(), Ok(&key));
    let end = rest.iter().position(|byte| *byte == b'\n');
    let (signature, message) = rest.split_at(end.unwrap_or(rest.len()));
    let message = message.strip_prefix(b"\n").unwrap_or(message);
    if let Ok(signature) = STANDARD.decode(signature)
        && key.verify(message, &signature).is_ok()
    {
        let other = [message, b"!"].concat();
        assert!(key.verify(&other, &signature).is_err());
        let longer = [&signature[..], &[0]].concat();
        assert!(key.verify(message, &longer).is_err());
        reached.insert("a good signature");
    }
    reached
}
