use base64::{Engine as _, engine::general_purpose::STANDARD};
use skills::key::{
    InvalidPublicKey, keygen, private_key_from_pem, private_key_pem, public_key_from_text,
    public_key_text,
};

use crate::{canonical::vectors, foreign::FOREIGN};

#[test]
fn private_keys_are_written_as_node_writes_them() {
    for (seed, vector) in (1_u8..).zip(vectors().signatures) {
        let key = keygen([seed; 32]);
        assert_eq!(*private_key_pem(&key).unwrap(), vector.private_key_pem);
        assert_eq!(private_key_from_pem(&vector.private_key_pem).unwrap(), key);
        assert_eq!(
            public_key_text(&key.verifying_key()).unwrap(),
            vector.public_key_spki
        );
    }
}

#[test]
fn the_three_spellings_of_a_public_key_are_one_key() {
    for vector in vectors().signatures {
        let key = public_key_from_text(&vector.public_key_spki).unwrap();
        assert_eq!(public_key_from_text(&vector.public_key_pem).unwrap(), key);
        assert_eq!(public_key_from_text(&vector.public_key_raw).unwrap(), key);
        assert_eq!(
            public_key_from_text(&format!("\n{}\n", vector.public_key_raw)).unwrap(),
            key
        );
    }
}

#[test]
fn what_is_no_key_is_told_why() {
    let why = |text: &str| public_key_from_text(text).unwrap_err().to_string();
    let weak = STANDARD.encode([0; 32]);
    assert_eq!(public_key_from_text(&weak), Err(InvalidPublicKey::Weak));
    let private = &vectors().signatures[0].private_key_pem;
    assert_eq!(
        public_key_from_text(private),
        Err(InvalidPublicKey::Private)
    );
    for text in ["", "AAAA", "not base64!", "MCowBQYDK2VwAyEA"] {
        assert_eq!(
            public_key_from_text(text),
            Err(InvalidPublicKey::Form),
            "{text}"
        );
    }
    let of = |name: &str| FOREIGN.bad(name);
    assert!(why(of("PKCS #1")).contains("holds a `RSA PUBLIC KEY`"));
    assert!(why(of("a certificate")).contains("holds a `CERTIFICATE`"));
    assert!(why(of("P-256")).contains("1.2.840.10045.2.1 are not supported"));
    assert!(why(of("RSA of 1024 bits")).ends_with("2048 to 8192 bits, not 1024"));
    assert!(why(of("RSA of 8193 bits")).ends_with("not 8193"));
    assert!(why(of("RSA with exponent 3")).contains("65537"));
    assert!(why(of("RSA with an even modulus")).contains("even"));
    assert!(why(of("RSA-PSS with parameters")).contains("parameters"));
    assert!(private_key_from_pem("-----BEGIN PRIVATE KEY-----").is_err());
}
