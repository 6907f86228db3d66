//! The attempts that this process is at work on, and what they brought.

use std::collections::HashMap;

use contracts::ids::StepId;
use domain::execution::ending::Outcome;
use host::trace::told::Parent;
use tokio::task::{Id, JoinSet};
use tracing::Instrument as _;

use crate::dispatch::{self, Call, Ran};

/// What one attempt brought.
#[derive(Debug, Clone)]
pub struct Brought {
    pub step: StepId,
    pub attempt: u32,
    pub outcome: Outcome,
    /// The call's span, where there was a call.
    pub span: Option<Parent>,
}

/// Calls run at once, whatever their driver waits for. Dropped, they are aborted.
#[derive(Default)]
pub struct Calls {
    running: JoinSet<Ran>,
    attempts: HashMap<Id, (StepId, u32)>,
    /// Brought, and not stored yet.
    brought: Vec<Brought>,
}

impl Calls {
    pub fn start(&mut self, call: Call) {
        let attempt = (call.started.step_id.clone(), call.started.attempt);
        let task = self.running.spawn(call.run().in_current_span());
        self.attempts.insert(task.id(), attempt);
    }

    /// The end of an attempt that could not be dispatched.
    pub fn bring(&mut self, brought: Brought) {
        self.brought.push(brought);
    }

    /// Whether nothing is without its stored end.
    pub fn is_idle(&self) -> bool {
        self.attempts.is_empty() && self.brought.is_empty()
    }

    pub fn is_under_way(&self, step: &StepId, attempt: u32) -> bool {
        let running = self
            .attempts
            .values()
            .any(|(id, number)| id == step && *number == attempt);
        running
            || self
                .brought
                .iter()
                .any(|brought| brought.step == *step && brought.attempt == attempt)
    }

    /// Waits until an attempt has brought something; for ever where none runs. Safe to cancel.
    pub async fn next(&mut self) {
        let Some(ended) = self.running.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (id, outcome, span) = match ended {
            Ok((id, Ran { outcome, span })) => (id, outcome, Some(span)),
            Err(error) => (
                error.id(),
                dispatch::lost("the call ended without an answer"),
                None,
            ),
        };
        if let Some((step, attempt)) = self.attempts.remove(&id) {
            self.brought.push(Brought {
                step,
                attempt,
                outcome,
                span,
            });
        }
    }

    /// What is to be stored next.
    pub fn to_store(&self) -> Option<&Brought> {
        self.brought.last()
    }

    /// It is stored, or refused.
    pub fn stored(&mut self) {
        self.brought.pop();
    }

    /// No further effect, and no end that could be stored.
    pub fn abandon(&mut self) {
        self.running.abort_all();
        self.attempts.clear();
        self.brought.clear();
    }
}
