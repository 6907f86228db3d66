//! What workers answer.

use worker::wire::Reply;

pub fn holds(bytes: &[u8]) {
    let Ok(reply) = Reply::decode(bytes) else {
        return;
    };
    assert_ne!(reply, Reply::InProgress(false));
    let encoded = reply.encode().unwrap();
    assert_eq!(Reply::decode(&encoded).unwrap(), reply);
}
