use base64::{Engine as _, engine::general_purpose::STANDARD};
use skills::key::{
    InvalidPublicKey, keygen, private_key_from_pem, private_key_pem, public_key_from_text,
    public_key_text,
};

use crate::canonical::vectors;

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
fn a_point_of_small_order_is_no_key() {
    let mut identity = [0; 32];
    identity[0] = 1;
    for weak in [[0; 32], identity] {
        assert_eq!(
            public_key_from_text(&STANDARD.encode(weak)),
            Err(InvalidPublicKey::Weak)
        );
    }
}

#[test]
fn other_texts_are_no_keys() {
    let pem = &vectors().signatures[0].private_key_pem;
    for text in ["", "AAAA", "not base64!", "MCowBQYDK2VwAyEA", pem] {
        assert_eq!(
            public_key_from_text(text),
            Err(InvalidPublicKey::Form),
            "{text}"
        );
    }
    assert!(private_key_from_pem("-----BEGIN PRIVATE KEY-----").is_err());
}
