//! What callers ask and what they are told, one module per aggregate.
//!
//! The fields of the reference contract come first, with its names and its requiredness; what
//! this project adds is optional. Inputs refuse members they do not know, so that a misspelt
//! option is an error and never a silent default. An idempotency key travels as a header.

/// Structs of one operation: the required fields, then the optional ones.
macro_rules! message {
    ($($(#[$meta:meta])* $kind:ident $name:ident
        { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }
        $(, optional { $($(#[$option_meta:meta])* $option:ident: $option_type:ty,)* })?
    )+) => {$(
        message! { @$kind
            $(#[$meta])*
            pub struct $name {
                $($(#[$field_meta])* pub $field: $type,)*
                $($(
                    $(#[$option_meta])*
                    #[serde(default, skip_serializing_if = "Option::is_none")]
                    pub $option: Option<$option_type>,
                )*)?
            }
        }
    )+};
    (@input $item:item) => {
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        $item
    };
    // A reader of an answer must cope with what a newer server adds.
    (@output $item:item) => {
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase")]
        $item
    };
}

pub mod approval;
pub mod execution;
pub mod intent;
pub mod plan;
pub mod policy;
pub mod several;
pub mod skill;
pub mod step;
pub mod trace;
