//! The one place where the clock and the random source are read.

use std::time::{SystemTime, UNIX_EPOCH};

use contracts::{
    ids::{ExecutionId, Incarnation},
    time::Timestamp,
};
use uuid::Uuid;

#[expect(
    clippy::disallowed_methods,
    reason = "deciders are told the time that is read here"
)]
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A new id for this life of the process.
#[expect(
    clippy::disallowed_methods,
    reason = "deciders are told the ids that are drawn here"
)]
pub fn incarnation() -> Incarnation {
    Incarnation::of(Uuid::now_v7())
}

/// The id of an execution that no key names.
#[expect(
    clippy::disallowed_methods,
    reason = "deciders are told the ids that are drawn here"
)]
pub fn execution_id() -> ExecutionId {
    ExecutionId::of(Uuid::now_v7())
}

/// 32 bytes that nobody can guess.
#[expect(
    clippy::disallowed_methods,
    reason = "deciders are told the bytes that are drawn here"
)]
pub fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    let (low, high) = bytes.split_at_mut(16);
    low.copy_from_slice(Uuid::new_v4().as_bytes());
    high.copy_from_slice(Uuid::new_v4().as_bytes());
    bytes
}
