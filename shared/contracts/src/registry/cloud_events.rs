//! Intents that come as `CloudEvents`: the same operation through another door.

use super::OperationName;
use crate::problem::Code;

/// Where they are posted.
pub const PATH: &str = "/v1/events";

/// One event, as one JSON object.
pub const STRUCTURED: &str = "application/cloudevents+json";

/// Several, as one JSON array.
pub const BATCH: &str = "application/cloudevents-batch+json";

/// Events of one batch: what a producer gathers in a moment. A body holds some thousands at most.
pub const BATCH_MAX: usize = 256;

/// The longest `id` and `source`: longer than any that a producer writes.
pub const ID_CHARS_MAX: usize = 255;
pub const SOURCE_CHARS_MAX: usize = 1024;

/// What an event asks for; its type is the key of this operation.
pub const OPERATION: OperationName = OperationName::IntentSubmit;

/// What may be answered that is not an execution.
pub fn errors() -> impl Iterator<Item = Code> {
    let operation = OPERATION.entry().all_errors();
    operation.chain([Code::BatchIncomplete])
}
