//! Whether a history holds together, judged event by event as it is read.

use contracts::{
    record::{Head, Recorded},
    time::Timestamp,
};
use domain::execution::Corruption;
use journal::{
    history::Fault,
    stored::{Raw, Unreadable},
};

/// Where a history stops to hold together.
#[derive(Debug, Clone)]
pub struct Break {
    pub version: u64,
    pub at: Option<Timestamp>,
    pub code: &'static str,
    pub cause: String,
}

/// The same codes as the other services raise, so that one fault is one incident.
pub const POISON: &str = "POISON_MESSAGE";
pub const CORRUPT: &str = "AGGREGATE_CORRUPT";
pub const FORKED: &str = "LOG_FORKED";

impl Break {
    pub fn fault(recorded: &Recorded, fault: &Fault) -> Self {
        Self {
            version: recorded.version(),
            at: Some(recorded.time()),
            code: match fault {
                Fault::Forked { .. } => FORKED,
                Fault::Hole { .. } | Fault::Chain { .. } => CORRUPT,
            },
            cause: fault.to_string(),
        }
    }

    pub fn illegal(recorded: &Recorded, corruption: &Corruption) -> Self {
        Self {
            version: corruption.version,
            at: Some(recorded.time()),
            code: CORRUPT,
            cause: corruption.to_string(),
        }
    }

    pub fn unreadable(version: u64, error: &Unreadable) -> Self {
        Self {
            version,
            at: None,
            code: POISON,
            cause: host::engine::chain(error),
        }
    }
}

/// Whether an event follows the one that `head` is of.
pub fn follows(head: Option<&Head>, recorded: &Recorded) -> Result<(), Fault> {
    let (found, expected) = (recorded.version(), head.map_or(1, |head| head.version + 1));
    if found < expected {
        Err(Fault::Forked { version: found })
    } else if found > expected {
        Err(Fault::Hole { expected, found })
    } else if recorded.attributes.prev_hash != head.map(|head| head.hash) {
        Err(Fault::Chain { version: found })
    } else {
        Ok(())
    }
}

/// The events up to the first that does not follow, and why it does not.
pub fn sound(stored: &[Raw]) -> (Vec<Recorded>, Option<Break>) {
    let mut events: Vec<Recorded> = Vec::with_capacity(stored.len());
    for raw in stored {
        let head = events.last().map(Recorded::head);
        let next = head.map_or(1, |head| head.version + 1);
        let followed = match raw.decode() {
            Err(error) => Err(Break::unreadable(next, &error)),
            Ok(recorded) => match follows(head.as_ref(), &recorded) {
                Ok(()) => Ok(recorded),
                Err(fault) => Err(Break::fault(&recorded, &fault)),
            },
        };
        match followed {
            Ok(recorded) => events.push(recorded),
            Err(broken) => return (events, Some(broken)),
        }
    }
    (events, None)
}
