//! What is decided: how often something is asked, and what comes of it.

use super::described::{Counts, Described, labels};

labels!(OfDecision {
    input: &'static str,
    outcome: &'static str
});

/// What a decision came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Events were stored.
    Appended,
    /// It was done before, or there is nothing to do.
    Nothing,
    /// An answer to the caller.
    Rejected,
}

/// Decisions by what led to them.
#[derive(Debug, Default)]
pub struct Decisions(Counts<OfDecision>);

impl Decisions {
    pub(super) fn describe(&self, described: &mut Described) {
        described.family(
            "decisions",
            "Decisions by what asked for one (the event that woke, `timer`, or the command) and \
             what it came to: `appended`, `nothing`, `rejected`",
            &self.0,
        );
    }

    pub fn made(&self, input: &'static str, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Appended => "appended",
            Outcome::Nothing => "nothing",
            Outcome::Rejected => "rejected",
        };
        self.0.get_or_create(&OfDecision { input, outcome }).inc();
    }
}
