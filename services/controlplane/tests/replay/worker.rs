//! A skill's worker.

use std::collections::BTreeMap;

use contracts::{events::executor::EffectOutcome, ids::StepId};
use domain::execution::ending::{Failure, Outcome};
use serde_json::Value;

/// What a skill's worker answers, by step; the last answer is given again.
pub struct Worker(BTreeMap<&'static str, Vec<Outcome>>);

impl Worker {
    pub fn idle() -> Self {
        Self(BTreeMap::new())
    }

    pub fn answers(mut self, step: &'static str, output: Value) -> Self {
        self.0
            .entry(step)
            .or_default()
            .push(Outcome::Completed(output));
        self
    }

    pub fn fails(mut self, step: &'static str, code: &str, retryable: bool) -> Self {
        self.0
            .entry(step)
            .or_default()
            .push(Outcome::Failed(Failure {
                code: code.to_owned(),
                message: None,
                retryable,
                outcome: EffectOutcome::NotDone,
            }));
        self
    }

    pub fn ask(&mut self, step: &StepId) -> Option<Outcome> {
        let answers = self.0.get_mut(step.as_str())?;
        Some(if answers.len() > 1 {
            answers.remove(0)
        } else {
            answers.first()?.clone()
        })
    }
}
