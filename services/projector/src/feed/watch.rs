//! What is stored now, on its way to those who watch: a queue for each reader, bounded in events
//! and bytes, and all of them together bounded too.
//!
//! Whoever has fallen behind is let go at once, with all that waits for it: what it has not read is
//! in the read model, and it comes again with the position it has.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use contracts::{
    ids::WorkspaceId,
    position::{Position, Positions},
    record::Recorded,
    subject::AggregateId,
};
use tokio::sync::Notify;

use crate::database::rows::Standing;

/// Events that wait for one reader: more than one batch can bring.
const WAITING_MAX: usize = 1024;

/// Of what waits for one reader, as it is stored; decoded it is a few times that. A batch of usual
/// events is a megabyte or two, and as much again comes while a reader on a slow line takes it.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Of what waits for all readers together, each event once however many it waits for: hundreds of
/// readers of as many executions would otherwise hold gigabytes.
const ALL_WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// An event that is now stored.
pub struct Told {
    pub position: Position,
    pub recorded: Recorded,
    pub standing: Option<Standing>,
    /// What was stored before the batch that it came in.
    pub before: Arc<Positions>,
    pub weight: Weight,
}

/// The bytes that an event takes for as long as it waits for anyone.
pub struct Weight {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Who watches what.
#[derive(Default)]
pub struct Watches {
    open: Mutex<Open>,
    /// The bytes of all that waits.
    waiting: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Open {
    executions: BTreeMap<AggregateId, Vec<Weak<Queue>>>,
    workspaces: BTreeMap<WorkspaceId, Vec<Weak<Queue>>>,
}

/// One reader's end.
pub struct Watch(Arc<Queue>);

/// More has come than the reader has read in time.
#[derive(Debug, PartialEq, Eq)]
pub struct FellBehind;

#[derive(Default)]
struct Queue {
    unread: Mutex<Unread>,
    changed: Notify,
}

#[derive(Default)]
struct Unread {
    items: VecDeque<Arc<Told>>,
    bytes: usize,
    fell_behind: bool,
}

impl Watches {
    pub fn of_execution(&self, aggregate: &AggregateId) -> Watch {
        watch(&mut self.open().executions, aggregate)
    }

    pub fn of_workspace(&self, workspace: &WorkspaceId) -> Watch {
        watch(&mut self.open().workspaces, workspace)
    }

    /// Whether anyone watches anything, or did a moment ago.
    pub fn is_idle(&self) -> bool {
        let open = self.open();
        open.executions.is_empty() && open.workspaces.is_empty()
    }

    /// Whether anyone watches anything now.
    pub fn is_watched(&self) -> bool {
        let open = self.open();
        let executions = open.executions.values().flatten();
        let mut all = executions.chain(open.workspaces.values().flatten());
        all.any(|queue| queue.strong_count() > 0)
    }

    /// To be part of an event of so many bytes.
    pub fn weight(&self, bytes: usize) -> Weight {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let all = Arc::clone(&self.waiting);
        Weight { bytes, all }
    }

    pub fn send(&self, item: &Arc<Told>) {
        let mut open = self.open();
        let aggregate = &item.recorded.subject.aggregate;
        hand_on(&mut open.executions, aggregate, item);
        hand_on(&mut open.workspaces, aggregate.workspace(), item);
        if Arc::strong_count(item) == 1 {
            // Nobody waits for it: it is gone as soon as it is handed on, however large it is.
            return;
        }
        while self.waiting.load(Ordering::Relaxed) > ALL_WAITING_BYTES_MAX {
            // What is left is on its way to who has taken it.
            if !open.let_go_of_the_last() {
                break;
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Maps of queues are whole after any panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Whoever has the most to read; false where nothing waits for anyone.
    fn let_go_of_the_last(&self) -> bool {
        let executions = self.executions.values().flatten();
        let all = executions.chain(self.workspaces.values().flatten());
        let waiting = all.filter_map(Weak::upgrade);
        let waiting = waiting.filter(|queue| queue.unread().bytes > 0);
        let last = waiting.max_by_key(|queue| queue.unread().bytes);
        last.is_some_and(|queue| {
            queue.let_go();
            true
        })
    }
}

fn hand_on<K: Ord>(open: &mut BTreeMap<K, Vec<Weak<Queue>>>, key: &K, item: &Arc<Told>) {
    let Some(queues) = open.get_mut(key) else {
        return;
    };
    queues.retain(|queue| {
        let queue = queue.upgrade();
        queue.is_some_and(|queue| {
            queue.push(item);
            true
        })
    });
    if queues.is_empty() {
        open.remove(key);
    }
}

fn watch<K: Ord + Clone>(open: &mut BTreeMap<K, Vec<Weak<Queue>>>, key: &K) -> Watch {
    // Those whose readers have gone without an event since.
    open.retain(|_, queues| {
        queues.retain(|queue| queue.strong_count() > 0);
        !queues.is_empty()
    });
    let queue = Arc::<Queue>::default();
    let queues = open.entry(key.clone()).or_default();
    queues.push(Arc::downgrade(&queue));
    Watch(queue)
}

impl Queue {
    fn push(&self, item: &Arc<Told>) {
        let bytes = item.weight.bytes;
        let mut unread = self.unread();
        if unread.fell_behind {
            return;
        }
        let is_full = unread.items.len() >= WAITING_MAX
            || (!unread.items.is_empty() && unread.bytes + bytes > WAITING_BYTES_MAX);
        if is_full {
            drop(unread);
            return self.let_go();
        }
        unread.items.push_back(Arc::clone(item));
        unread.bytes += bytes;
        drop(unread);
        self.changed.notify_one();
    }

    fn let_go(&self) {
        *self.unread() = Unread {
            fell_behind: true,
            ..Unread::default()
        };
        self.changed.notify_one();
    }

    fn unread(&self) -> MutexGuard<'_, Unread> {
        // A queue is whole after any panic.
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// The next event. Given up half-way, it loses nothing.
    pub async fn next(&mut self) -> Result<Arc<Told>, FellBehind> {
        loop {
            let taken = {
                let mut unread = self.0.unread();
                if unread.fell_behind {
                    return Err(FellBehind);
                }
                let taken = unread.items.pop_front();
                if let Some(item) = &taken {
                    unread.bytes = unread.bytes.saturating_sub(item.weight.bytes);
                }
                taken
            };
            if let Some(item) = taken {
                return Ok(item);
            }
            self.0.changed.notified().await;
        }
    }
}
