//! Live feeds: what is stored so far, then what the projection reads.
//!
//! A process follows the log once, whatever the number of its readers. A reader that is too slow
//! is let go, and resumes with the id it has; one whose credential has changed comes again with
//! the new one.
//!
//! * [`execution`]: what happens to one execution, until it ends
//! * [`workspace`]: what happens in a workspace, or what changes what someone may vote on
//! * [`asked`]: what a reader asks for, and where it goes on
//! * [`credential`]: whether a reader may read on
//! * [`places`]: how many feeds are read at once

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::response::sse::Event;
use contracts::{
    ids::WorkspaceId,
    position::{Position, Positions},
    record::Recorded,
    registry::Grant,
    subject::AggregateId,
};
use domain::trace::{Payloads, cloud_event};
use host::principals::Principal;
use journal::stored::Entry;
use tokio::sync::broadcast;

use self::places::Places;
use crate::database::rows::Standing;

pub mod asked;
pub mod execution;
pub mod workspace;

mod credential;
mod places;

/// Events that wait for the slowest reader of a feed: more than one batch can bring.
const WAITING_MAX: usize = 1024;

/// Below what proxies usually wait before they close a silent connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What a reader is told that is let go because of what it has not read.
const TOO_SLOW: &str = "too slow: go on with `Last-Event-ID`";

type Item = Arc<Told>;

/// An event that is now stored.
pub struct Told {
    pub position: Position,
    pub recorded: Recorded,
    pub standing: Option<Standing>,
    /// What was stored before the batch that it came in.
    pub before: Arc<Positions>,
}

/// What is being watched.
#[derive(Default)]
pub struct Feeds {
    open: Mutex<Open>,
    places: Arc<Places>,
}

#[derive(Default)]
struct Open {
    executions: BTreeMap<AggregateId, broadcast::Sender<Item>>,
    workspaces: BTreeMap<WorkspaceId, broadcast::Sender<Item>>,
}

impl Feeds {
    /// Hands on what is now stored to those who watch it.
    pub fn publish(
        &self,
        entries: Vec<Entry>,
        standings: Vec<Option<Standing>>,
        before: Positions,
    ) {
        let mut open = self.open();
        if open.executions.is_empty() && open.workspaces.is_empty() {
            return;
        }
        let before = Arc::new(before);
        for (entry, standing) in entries.into_iter().zip(standings) {
            let Ok(recorded) = entry.recorded else {
                continue;
            };
            open.send(&Arc::new(Told {
                position: entry.position,
                recorded,
                standing,
                before: Arc::clone(&before),
            }));
        }
    }

    fn of_execution(&self, aggregate: &AggregateId) -> broadcast::Receiver<Item> {
        subscribe(&mut self.open().executions, aggregate)
    }

    fn of_workspace(&self, workspace: &WorkspaceId) -> broadcast::Receiver<Item> {
        subscribe(&mut self.open().workspaces, workspace)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Maps of senders are whole after any panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn send(&mut self, item: &Item) {
        let aggregate = &item.recorded.subject.aggregate;
        hand_on(&mut self.executions, aggregate, item);
        hand_on(&mut self.workspaces, aggregate.workspace(), item);
    }
}

fn hand_on<K: Ord>(open: &mut BTreeMap<K, broadcast::Sender<Item>>, key: &K, item: &Item) {
    let unread = open
        .get(key)
        .is_some_and(|feed| feed.send(Arc::clone(item)).is_err());
    if unread {
        open.remove(key);
    }
}

fn subscribe<K: Ord + Clone>(
    open: &mut BTreeMap<K, broadcast::Sender<Item>>,
    key: &K,
) -> broadcast::Receiver<Item> {
    // Those whose readers have gone without an event since.
    open.retain(|_, feed| feed.receiver_count() > 0);
    open.entry(key.clone())
        .or_insert_with(|| broadcast::Sender::new(WAITING_MAX))
        .subscribe()
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
