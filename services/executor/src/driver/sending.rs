//! The effect of a start that is stored: sent once, and not where it may have become another's, or
//! where what it was decided on has changed.

use std::sync::Arc;

use contracts::{
    canonical::Digest,
    events::executor::StepStarted,
    ids::{EventId, StepId},
    planted::{self, Bug},
};
use domain::{
    catalogue::{Builtin, Catalogue, EntryPoint},
    execution::{Step, steps},
};
use host::{catalogue::Confirmed, failpoint, trouble::Trouble};
use tokio::time::Instant;

use super::{Driver, FACTS_AGE_MAX};
use crate::{
    calls::Brought,
    dispatch::{self, Call},
};

/// A start, and the event that it is.
pub(super) struct Start {
    pub started: StepStarted,
    pub stored: EventId,
}

/// What a stored start leads to.
enum Effect {
    Call(Box<Call>),
    /// `core.wait`: the state waits for its end.
    TimePasses,
    Impossible(&'static str),
}

impl Driver<'_> {
    /// Runs the effect of a start that has just been stored. Where that took its time, what it was
    /// decided on is looked at again, and the log too: it may have been taken over or called off.
    pub(super) async fn send(
        &mut self,
        start: Start,
        cause: EventId,
        begun: Instant,
        catalogue: &Arc<Catalogue>,
    ) -> Result<(), Trouble> {
        let started = &start.started;
        if begun.elapsed() <= FACTS_AGE_MAX || self.passes_time(started) {
            self.dispatch(start, catalogue);
            return Ok(());
        }
        // What was allowed when the effect began is not asked again.
        let has_changed = !started.takeover && self.has_changed(started, catalogue).await?;
        if !self.is_at(started).await? {
            // Taken over meanwhile: whoever has it sends it.
            return Ok(());
        }
        let is_his = self.held.holds(cause, self.host.ack_wait)
            // It was his a moment ago.
            || planted::is(Bug::SendsAfterPause);
        if !is_his {
            // Paused since it was stored, for so long that it may be another's by now: whoever is
            // given the wake-up takes it over.
            return Ok(());
        }
        let stop = self
            .execution
            .state
            .known()
            .and_then(|known| known.stop.as_ref());
        let undone = match stop {
            Some(_) => Some(dispatch::called_off(started.takeover)),
            None => has_changed.then(dispatch::outdated),
        };
        match undone {
            Some(outcome) => self.calls.bring(Brought {
                step: start.started.step_id,
                attempt: start.started.attempt,
                outcome,
                span: None,
            }),
            None => self.dispatch(start, catalogue),
        }
        Ok(())
    }

    /// Whether all that is asked for is that time passes: nothing is sent.
    fn passes_time(&self, started: &StepStarted) -> bool {
        let run = self.execution.state.known().and_then(|known| known.run());
        let step = run.and_then(|run| run.judged.compiled.plan.step(&started.step_id));
        step.is_some_and(steps::passes_time)
    }

    /// Whether an attempt that this process started is under way still, as the leader has it.
    async fn is_at(&mut self, started: &StepStarted) -> Result<bool, Trouble> {
        if planted::is(Bug::SendsAfterPause) {
            // It was a moment ago.
            return Ok(true);
        }
        self.execution.reload().await?;
        let run = self.execution.state.known().and_then(|known| known.run());
        let step = run.and_then(|run| run.steps.get(&started.step_id));
        let attempt = step.and_then(Step::attempt);
        Ok(attempt.is_some_and(|attempt| attempt.number == started.attempt))
    }

    /// Whether what a start was decided on has changed while it was being stored.
    async fn has_changed(
        &self,
        started: &StepStarted,
        decided_on: &Catalogue,
    ) -> Result<bool, Trouble> {
        let Confirmed { catalogue, .. } = self.facts().await?;
        let workspace = self.execution.aggregate.workspace();
        let enabled = |catalogue: &Catalogue| {
            let skill = catalogue.skill(workspace, &started.pin);
            skill.is_some_and(|skill| skill.enabled)
        };
        Ok(enabled(&catalogue) != enabled(decided_on)
            || catalogue.policy_version(workspace) != decided_on.policy_version(workspace))
    }

    /// Runs the effect of a start that is stored.
    fn dispatch(&mut self, start: Start, catalogue: &Arc<Catalogue>) {
        let started = &start.started;
        tracing::debug!(
            step = %started.step_id, attempt = started.attempt, takeover = started.takeover,
            "dispatches"
        );
        let (step, attempt) = (started.step_id.clone(), started.attempt);
        match self.effect(start, catalogue) {
            Effect::Call(call) => {
                failpoint::reach("before-dispatch");
                self.calls.start(*call);
            }
            Effect::TimePasses => {}
            Effect::Impossible(why) => self.calls.bring(Brought {
                step,
                attempt,
                outcome: dispatch::impossible(why),
                span: None,
            }),
        }
    }

    fn effect(&self, start: Start, catalogue: &Arc<Catalogue>) -> Effect {
        let Start { started, stored } = start;
        let known = self.execution.state.known();
        let run = known.and_then(|known| known.run());
        let step = run.and_then(|run| run.judged.compiled.plan.step(&started.step_id));
        let (Some(known), Some(run), Some(step)) = (known, run, step) else {
            return Effect::Impossible("the step is not in the plan");
        };
        let skill = catalogue.skill(&known.workspace, &step.uses);
        if skill.is_some_and(|skill| skill.entry_point == EntryPoint::Builtin(Builtin::Wait)) {
            return Effect::TimePasses;
        }
        // What was decided on is what is sent.
        let Ok(inputs) = steps::inputs(run, step) else {
            return Effect::Impossible("its inputs cannot be bound");
        };
        Effect::Call(Box::new(Call {
            journal: Arc::clone(&self.host.journal),
            ambient: Arc::clone(&self.host.ambient),
            workspace: known.workspace.clone(),
            step: step.clone(),
            inputs,
            token: token(&self.tokens, &started.step_id, started.attempt),
            traceparent: known.traceparent.clone(),
            catalogue: Arc::clone(catalogue),
            started,
            stored,
            metrics: Arc::clone(&self.host.metrics),
            tracer: self.host.tracer.clone(),
        }))
    }
}

/// The completion token of an attempt: only who knows the secret can make it.
pub(super) fn token(secret: &[u8; 32], step: &StepId, attempt: u32) -> String {
    let attempt = attempt.to_be_bytes();
    Digest::of_parts([secret.as_slice(), step.as_str().as_bytes(), &attempt]).to_string()
}
