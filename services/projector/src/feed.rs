//! Live feeds: what is stored so far, then what the projection reads.
//!
//! A process follows the log once, whatever the number of its readers. A reader that is too slow
//! is let go, and resumes with the id it has; one whose credential has changed comes again with
//! the new one.
//!
//! * [`execution`]: what happens to one execution, until it ends
//! * [`workspace`]: what happens in a workspace, or what changes what someone may vote on
//! * [`watch`]: what is stored now, on its way to those who watch
//! * [`asked`]: what a reader asks for, and where it goes on
//! * [`credential`]: whether a reader may read on
//! * [`places`]: how many feeds are read at once, and how many read what was
//! * [`page`]: what was, while a reader is told it

use std::{sync::Arc, time::Duration};

use axum::response::sse::Event;
use contracts::{
    position::{Position, Positions},
    record::Recorded,
    registry::Grant,
};
use domain::trace::{Payloads, cloud_event};
use host::principals::Principal;
use journal::stored::Entry;

use self::{
    places::Places,
    watch::{Told, Watches},
};
use crate::database::rows::Standing;

pub mod asked;
pub mod execution;
pub mod page;
pub mod places;
pub mod watch;
pub mod workspace;

mod credential;

/// Below what proxies usually wait before they close a silent connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What a reader is told that is let go because of what it has not read.
const TOO_SLOW: &str = "too slow: go on with `Last-Event-ID`";

/// What a reader is told where what was stored cannot be read on.
const UNREADABLE: &str = "cannot be read now: go on with `Last-Event-ID`";

/// What a reader is told that reads what was when the service stops.
const STOPPING: &str = "stopping";

/// How much is handed on before those who watch may take some of it: a batch can be many times
/// what may wait for one of them.
const HANDED_ON_BYTES: usize = 1024 * 1024;
const HANDED_ON_EVENTS: usize = 512;

/// What is being watched.
#[derive(Default)]
pub struct Feeds {
    pub watches: Watches,
    places: Arc<Places>,
}

impl Feeds {
    /// Hands on what is now stored to those who watch it.
    pub async fn publish(
        &self,
        entries: Vec<Entry>,
        standings: Vec<Option<Standing>>,
        before: Positions,
    ) {
        if self.watches.is_idle() {
            return;
        }
        let before = Arc::new(before);
        let (mut handed_on, mut count) = (0, 0);
        for (entry, standing) in entries.into_iter().zip(standings) {
            let bytes = entry.raw.bytes();
            let Ok(recorded) = entry.recorded else {
                continue;
            };
            // Before, so that one that is large finds nothing that those who read have not taken.
            let is_much = handed_on + bytes > HANDED_ON_BYTES || count >= HANDED_ON_EVENTS;
            if handed_on > 0 && is_much {
                (handed_on, count) = (0, 0);
                tokio::task::yield_now().await;
            }
            handed_on += bytes;
            count += 1;
            self.watches.send(&Arc::new(Told {
                position: entry.position,
                recorded,
                standing,
                before: Arc::clone(&before),
                weight: self.watches.weight(bytes),
            }));
        }
    }
}

/// As much as a trace would show to the same principal.
fn payloads(principal: &Principal) -> Payloads {
    let grants = [Grant::TraceRead, Grant::TracePayloads];
    let all = grants
        .iter()
        .all(|grant| grant.is_held_by(&principal.actor));
    if all {
        Payloads::Whole
    } else {
        Payloads::Masked
    }
}

/// One event as a message, which names where its reader then is.
fn message(
    reached: &Positions,
    position: Position,
    recorded: &Recorded,
    payloads: Payloads,
) -> Event {
    let event = cloud_event(position, recorded, payloads);
    Event::default()
        .id(reached.to_string())
        .data(event.to_string())
}
