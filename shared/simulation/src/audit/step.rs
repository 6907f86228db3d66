//! The books of one step, and of its attempts.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    canonical::Digest,
    events::executor::{EffectOutcome, StepStarted},
    facts::{ApprovalRule, StepVerdict, facts_digest},
    ids::{ActionName, BlockId, EventId, Incarnation, Pin, PrincipalId, StepId},
    plan::{PlanStep, RetryPolicy, RiskTier},
    time::Timestamp,
};

use super::catalogue::is_builtin;

pub(super) struct Step {
    pub uses: Pin,
    pub action: ActionName,
    pub needs: Vec<StepId>,
    /// Whether an input comes from the output of another step.
    pub is_bound: bool,
    /// Of the inputs, where none does.
    pub inputs_digest: Option<Digest>,
    pub retry: RetryPolicy,
    pub timeout_ms: u64,
    pub state: State,
    /// Over all runs, by number.
    pub attempts: BTreeMap<u32, Attempt>,
    /// Starts of this run that are no takeovers.
    pub tries: u32,
    pub key: Option<Digest>,
    /// Waits for its answer.
    pub proposal: Option<Proposal>,
    pub judgement: Option<Judgement>,
    /// The last one.
    pub block: Option<Block>,
    /// Everyone who approved, under whatever name, over all blocks.
    pub voters: BTreeSet<PrincipalId>,
    pub was_rejected: bool,
    /// Of the last failure.
    pub not_before: Option<Timestamp>,
    /// How often it was reported from outside.
    pub reports: u32,
    /// A report that no end has followed yet.
    pub is_reported: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// To be started, for the first time or again.
    Waiting,
    /// An attempt is under way.
    Started(u32),
    /// An attempt will be completed from outside.
    Accepted(u32),
    Completed,
    Failed,
    Skipped,
}

pub(super) struct Attempt {
    pub owner: Incarnation,
    pub wake: Option<EventId>,
    pub is_takeover: bool,
    pub stored_at: Timestamp,
    pub timeout_at: Timestamp,
    pub inputs_digest: Digest,
    /// Of the facts it was started on.
    pub catalogue: u64,
    pub was_taken_over: bool,
    pub end: Option<End>,
    /// Whether it was once recorded that nobody knows what became of it, whatever came later.
    pub was_unknown: bool,
    /// When it was taken over or ended, whichever was first.
    pub over_at: Option<Timestamp>,
    /// How often a worker was asked, said that it is still at it, and did it.
    pub dispatched: u32,
    pub in_progress: u32,
    pub effects: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Failed(EffectOutcome),
}

pub(super) struct Proposal {
    pub version: u64,
    pub inputs_digest: Digest,
    /// Where the catalogue ended when it was stored.
    pub asked: u64,
}

pub(super) struct Judgement {
    pub inputs_digest: Digest,
    pub policy: Option<Digest>,
    pub verdict: StepVerdict,
}

pub(super) struct Block {
    pub id: BlockId,
    pub rule: ApprovalRule,
    pub plan_hash: Digest,
    pub inputs_digest: Digest,
    /// Of the verdict that it was opened for.
    pub tier: RiskTier,
    pub expires_at: Timestamp,
    /// The people whose approval counts.
    pub approved: BTreeSet<PrincipalId>,
}

impl Step {
    pub fn planned(step: &PlanStep) -> Self {
        let is_bound = step.has_bindings();
        Self {
            uses: step.uses.clone(),
            action: step.action.clone(),
            needs: step.needs.clone(),
            is_bound,
            inputs_digest: (!is_bound).then(|| facts_digest(&step.with)),
            retry: step.retry,
            timeout_ms: step.timeout_ms,
            state: State::Waiting,
            attempts: BTreeMap::new(),
            tries: 0,
            key: None,
            proposal: None,
            judgement: None,
            block: None,
            voters: BTreeSet::new(),
            was_rejected: false,
            not_before: None,
            reports: 0,
            is_reported: false,
        }
    }

    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Completed | State::Skipped)
    }

    pub fn is_waiting(&self) -> bool {
        self.state == State::Waiting && self.proposal.is_none() && self.open_block().is_none()
    }

    /// The number of the attempt that is under way.
    pub fn under_way(&self) -> Option<u32> {
        match self.state {
            State::Started(number) | State::Accepted(number) => Some(number),
            State::Waiting | State::Completed | State::Failed | State::Skipped => None,
        }
    }

    /// The block that waits for votes.
    pub fn open_block(&self) -> Option<&Block> {
        let waits = self.state == State::Waiting && self.proposal.is_none();
        self.block
            .as_ref()
            .filter(|block| waits && !block.is_passed())
    }

    /// Whether a worker does it.
    pub fn is_workers(&self) -> bool {
        !is_builtin(&self.uses)
    }

    /// Whether its effect is that time passes.
    pub fn is_wait(&self) -> bool {
        self.uses.key.as_str() == "core.wait"
    }

    pub fn begin_anew(&mut self) {
        if self.is_done() {
            return;
        }
        self.state = State::Waiting;
        self.tries = 0;
        self.proposal = None;
        self.not_before = None;
        self.is_reported = false;
        self.block = self.block.take().filter(Block::is_passed);
    }
}

impl Attempt {
    pub fn started(event: &StepStarted, wake: Option<EventId>, stored_at: Timestamp) -> Self {
        Self {
            owner: event.owner,
            wake,
            is_takeover: event.takeover,
            stored_at,
            timeout_at: event.timeout_at,
            inputs_digest: event.inputs_digest,
            catalogue: event.catalogue,
            was_taken_over: false,
            end: None,
            was_unknown: false,
            over_at: None,
            dispatched: 0,
            in_progress: 0,
            effects: 0,
        }
    }

    pub fn taken_over(&mut self, at: Timestamp) {
        self.was_taken_over = true;
        self.over_at.get_or_insert(at);
    }

    pub fn ended(&mut self, end: End, at: Timestamp) {
        self.end = Some(end);
        self.was_unknown |= end == End::Failed(EffectOutcome::Unknown);
        self.over_at.get_or_insert(at);
    }

    /// Whether it was recorded as certainly not done, and has happened.
    pub fn is_done_after_all(&self) -> bool {
        self.effects > 0 && self.end == Some(End::Failed(EffectOutcome::NotDone))
    }

    /// Whether another effect under the same key is no mistake: what became of this one was not
    /// known.
    pub fn is_unknown(&self) -> bool {
        self.was_taken_over || self.was_unknown
    }
}

impl Block {
    pub fn is_passed(&self) -> bool {
        self.approved.len() as u64 >= u64::from(self.rule.quorum)
    }
}
