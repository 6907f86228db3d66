//! What workers answer.

use worker::wire::Reply;

use crate::Reached;

pub const PROPERTIES: &[&str] = &["a reply"];

pub fn holds(bytes: &[u8]) -> Reached {
    let Ok(reply) = Reply::decode(bytes) else {
        return Reached::new();
    };
    assert_ne!(reply, Reply::InProgress(false));
    let encoded = reply.encode().unwrap();
    assert_eq!(Reply::decode(&encoded).unwrap(), reply);
    Reached::from(["a reply"])
}
