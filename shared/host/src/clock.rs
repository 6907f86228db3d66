//! The one place where the clock and the random source are read.

use std::time::{SystemTime, UNIX_EPOCH};

use contracts::{
    ids::{ExecutionId, Incarnation},
    time::Timestamp,
};
use uuid::{Builder, Uuid};

/// Time and chance as one process has them: the machine's, or a simulation's.
pub trait Ambient: Send + Sync {
    fn now(&self) -> Timestamp;

    /// 32 bytes that nobody can guess.
    fn random_bytes(&self) -> [u8; 32];

    /// The id of an execution that no key names: in the order of their instants.
    fn execution_id(&self) -> ExecutionId {
        ExecutionId::of(self.ordered_uuid())
    }

    /// A new id for this life of the process.
    fn incarnation(&self) -> Incarnation {
        Incarnation::of(self.ordered_uuid())
    }

    /// `UUIDv7`.
    fn ordered_uuid(&self) -> Uuid {
        let millis = u64::try_from(self.now().as_millis()).unwrap_or(0);
        let [a, b, c, d, e, f, g, h, i, j, ..] = self.random_bytes();
        Builder::from_unix_timestamp_millis(millis, &[a, b, c, d, e, f, g, h, i, j]).into_uuid()
    }
}

/// The machine's.
pub struct System;

impl Ambient for System {
    #[expect(
        clippy::disallowed_methods,
        reason = "deciders are told the time that is read here"
    )]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(millis.saturating_add(stepped()))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "deciders are told the bytes that are drawn here"
    )]
    fn random_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let (low, high) = bytes.split_at_mut(16);
        low.copy_from_slice(Uuid::new_v4().as_bytes());
        high.copy_from_slice(Uuid::new_v4().as_bytes());
        bytes
    }
}

/// By how many milliseconds a test has stepped this process's clock: the file that
/// `CONTROL_PLANE_CLOCK_OFFSET_FILE` names says so, and may change at any time.
#[cfg(feature = "failpoints")]
#[expect(
    clippy::disallowed_methods,
    reason = "a test steps it from outside, in a build that is never released"
)]
fn stepped() -> i64 {
    let Ok(path) = std::env::var("CONTROL_PLANE_CLOCK_OFFSET_FILE") else {
        return 0;
    };
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

#[cfg(not(feature = "failpoints"))]
const fn stepped() -> i64 {
    0
}
