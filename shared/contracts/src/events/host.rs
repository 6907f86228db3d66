//! Written by the host of any service: what an operator has to look at.

use crate::{ids::EventId, time::Timestamp};

payload! {
    /// A message that cannot be processed was set aside, or a history does not hold together.
    IncidentRaised {
        /// `POISON_MESSAGE`, `AGGREGATE_CORRUPT`, `LOG_FORKED`.
        code: String,
        cause: String,
        /// The aggregate it is about, `<workspace>/<kind>/<id>`.
        about: String,
        /// The event that could not be processed, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event_id: Option<EventId>,
        service: String,
        raised_at: Timestamp,
    }
}
