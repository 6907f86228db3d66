//! What was answered to which key, so that a repeated call is not acted on twice.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::serve::Limits;

/// By idempotency key. Forgets the oldest answers first, and never a call that is being worked on.
#[derive(Debug)]
pub(crate) struct Answers {
    known: HashMap<String, Known>,
    /// The keys of the answers, oldest first.
    oldest: VecDeque<String>,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
enum Known {
    InProgress,
    Answered(Bytes),
}

/// What to do with a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Act,
    SayInProgress,
    Repeat(Bytes),
}

impl Answers {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            known: HashMap::new(),
            oldest: VecDeque::new(),
            bytes: 0,
            count_max: limits.answers_max,
            bytes_max: limits.answers_bytes_max,
        }
    }

    /// Takes note of a call; after [`Next::Act`] one of the methods below follows.
    pub(crate) fn begin(&mut self, key: &str) -> Next {
        match self.known.get(key) {
            Some(Known::Answered(answer)) => Next::Repeat(answer.clone()),
            Some(Known::InProgress) => Next::SayInProgress,
            None => {
                self.known.insert(key.to_owned(), Known::InProgress);
                Next::Act
            }
        }
    }

    /// The effect is done: every repeat gets the same answer.
    pub(crate) fn succeeded(&mut self, key: String, answer: Bytes) {
        self.bytes += answer.len();
        self.known.insert(key.clone(), Known::Answered(answer));
        self.oldest.push_back(key);
        while self.oldest.len() > self.count_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.oldest.pop_front() else {
                break;
            };
            if let Some(Known::Answered(answer)) = self.known.remove(&oldest) {
                self.bytes -= answer.len();
            }
        }
    }

    /// Nothing was done, or nobody knows: a repeat is acted on.
    pub(crate) fn forget(&mut self, key: &str) {
        self.known.remove(key);
    }
}
