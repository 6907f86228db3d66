//! A page of what was, for as long as it takes its reader to be told it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task::AbortHandle, time::sleep};

use super::{places::Turn, watch::FellBehind};

/// How long a reader may take for one page, whatever it takes of it: as long as a connection may be
/// that reads nothing. A page is told in milliseconds to who reads; who does not would otherwise
/// keep both memory and a turn that others wait for.
const TOLD_WITHIN: Duration = Duration::from_secs(30);

/// What was read and is not yet told, and the turn in which it was read: whoever holds the one holds
/// the other, so that there are never more pages than turns.
pub struct Page<T> {
    held: Arc<Mutex<Held<T>>>,
    patience: Option<AbortHandle>,
}

struct Held<T> {
    untold: VecDeque<T>,
    turn: Option<Turn>,
    fell_behind: bool,
}

impl<T: Send + 'static> Page<T> {
    pub fn empty() -> Self {
        let held = Held {
            untold: VecDeque::new(),
            turn: None,
            fell_behind: false,
        };
        Self {
            held: Arc::new(Mutex::new(held)),
            patience: None,
        }
    }

    pub fn new(untold: VecDeque<T>, turn: Turn) -> Self {
        if untold.is_empty() {
            return Self::empty();
        }
        let held = Arc::new(Mutex::new(Held {
            untold,
            turn: Some(turn),
            fell_behind: false,
        }));
        // Nobody asks for the next event while the connection is full: only time can tell.
        let page = Arc::downgrade(&held);
        let patience = tokio::spawn(async move {
            sleep(TOLD_WITHIN).await;
            if let Some(held) = page.upgrade() {
                lock(&held).let_go();
            }
        });
        Self {
            held,
            patience: Some(patience.abort_handle()),
        }
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.held).untold.is_empty()
    }

    /// The next event. Asked for one more than there are, the last was taken too, and others have
    /// the turn.
    pub fn pop(&mut self) -> Result<Option<T>, FellBehind> {
        let next = {
            let mut held = lock(&self.held);
            if held.fell_behind {
                return Err(FellBehind);
            }
            let next = held.untold.pop_front();
            if next.is_none() {
                held.turn = None;
            }
            next
        };
        if next.is_none()
            && let Some(patience) = self.patience.take()
        {
            patience.abort();
        }
        Ok(next)
    }
}

impl<T> Held<T> {
    fn let_go(&mut self) {
        self.fell_behind = !self.untold.is_empty();
        self.untold = VecDeque::new();
        self.turn = None;
    }
}

impl<T> Drop for Page<T> {
    fn drop(&mut self) {
        if let Some(patience) = &self.patience {
            patience.abort();
        }
    }
}

fn lock<T>(held: &Mutex<Held<T>>) -> MutexGuard<'_, Held<T>> {
    // What is held is whole after any panic.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
