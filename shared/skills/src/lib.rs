//! Skill manifests: the bytes that are signed, the signature, and everything that is checked
//! before a skill is accepted.
//!
//! Pure: the trust document and the instant come in as arguments. Deliberately absent: the
//! catalogue of installed skills (a fold, in `domain`), any way to fetch a key or a schema, and
//! signing with RSA: such keys live in key stores, and are only verified here.
//!
//! * [`canonical`]: the bytes a publisher signs
//! * [`key`]: keys as people and documents write them
//! * [`signature`]: signing, and what a signature says
//! * [`entry_point`]: how a skill may be reached
//! * [`schema`]: compiling the JSON Schemas of actions
//! * [`mod@verify`]: all checks, with every finding at once
//! * [`fault`]: the findings and their codes

pub mod canonical;
pub mod entry_point;
pub mod fault;
pub mod key;
pub mod schema;
pub mod signature;
pub mod verify;
