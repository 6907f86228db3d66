//! The one list of what the control plane offers: operations, events, capabilities, and the grant
//! each operation needs. Services route, authorise and describe themselves by it; the schemas
//! under `schemas/` are written from it.

pub mod asyncapi;
mod capabilities;
pub mod catalogue;
pub mod cloud_events;
mod components;
pub mod examples;
mod feeds;
mod grant;
pub mod openapi;
mod operations;
mod resources;
mod role;
pub mod routing;
mod schema;

pub use capabilities::{CAPABILITIES, Capability, Provided, Requirement, Surface};
pub use feeds::{FEED_ERRORS, Feed, FeedName, Parameter, Place};
pub use grant::{Grant, UnknownGrant};
pub use operations::{
    COMMON_ERRORS, Kind, NOT_SERVED, NotServed, Operation, OperationName, Variation,
};
pub use resources::{RESOURCES, Resource};
pub use role::{Role, UnknownRole};
pub use schema::{event_key, event_schema, event_schema_id};

/// The version of every contract in this build.
pub const VERSION: &str = "1.0.0";

/// Whose contract a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// The reference contract's; its fields may be added to, never changed.
    Reference,
    Ours,
}
