//! Who takes part, and when.

use contracts::{
    facts::{Actor, ActorType},
    ids::{Incarnation, WorkspaceId},
    time::Timestamp,
};
use uuid::Uuid;

pub const SECOND: i64 = 1000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

pub fn workspace() -> WorkspaceId {
    "acme".parse().unwrap()
}

/// `ms` after the beginning of every test.
pub fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms)
}

/// `sam` is who asks for everything; `eve` holds no grant; `bot…` are agents; all others may
/// approve. `ann/bob` is the name of ann, lent by bob.
pub fn who(name: &str) -> Actor {
    let (name, via) = match name.split_once('/') {
        Some((name, via)) => (name, Some(via.parse().unwrap())),
        None => (name, None),
    };
    let grants: &[&str] = match name {
        "eve" => &[],
        _ => &["execution.approve", "intent.submit"],
    };
    Actor {
        via,
        kind: if name.starts_with("bot") {
            ActorType::Agent
        } else {
            ActorType::User
        },
        id: name.parse().unwrap(),
        grants: grants.iter().map(|grant| (*grant).to_owned()).collect(),
    }
}

/// One life of an executor.
pub fn process(number: u128) -> Incarnation {
    Incarnation::of(Uuid::from_u128(number))
}
