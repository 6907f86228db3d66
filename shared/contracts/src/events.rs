//! The payload of each event, one module per writer.
//!
//! The fields of the reference contract stand first, with its names; what this project adds is
//! optional for readers of the reference, so minor versions only add. `rules` is the version of
//! the decider that wrote the event.

/// The version of the deciders in this build. Raised when a decision on the same state and input
/// comes out differently; replay re-derives only what its own version wrote. From the first release
/// on: what builds before it decided otherwise, replay tells as a difference.
pub const RULES: u32 = 1;

/// A payload: derives, camel-case names, and absent options left out.
macro_rules! payload {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)+
            /// The version of the decider that wrote the event.
            pub rules: u32,
        }
    )+};
}

pub mod executor;
pub mod host;
pub mod intake;
pub mod planner;
pub mod verifier;
