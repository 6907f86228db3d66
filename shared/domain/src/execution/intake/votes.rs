//! Votes on a blocked step.

use contracts::{
    canonical::Digest,
    events::{
        executor::FailureCode,
        intake::{ExecutionApproved, ExecutionRejected},
    },
    facts::Actor,
    ids::{BlockId, StepId},
    planted::{self, Bug},
    time::Timestamp,
};

use super::{Decision, Rejection, open};
use crate::execution::{Block, Known, RULES, Run, Stage, Step};

/// A vote as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Ballot {
    pub step: StepId,
    pub block: Option<BlockId>,
    pub by: Actor,
    pub plan_hash: Option<Digest>,
    pub inputs_digest: Option<Digest>,
}

pub fn approve(known: &Known, ballot: &Ballot, note: Option<&str>, now: Timestamp) -> Decision {
    let block = step(known, &ballot.step).and_then(|step| step.block.as_ref());
    let voted = block.is_some_and(|block| {
        block.votes.contains_key(ballot.by.person())
            && ballot.block.is_none_or(|id| id == block.opened.block_id)
    });
    if voted {
        // The same person's second approval is the first one's answer.
        return Ok(Vec::new());
    }
    let (run, block) = votable(known, ballot, now)?;
    if ballot.plan_hash.is_none() && block.opened.approval.plan_hash_required {
        return Err(Rejection::PlanHashRequired);
    }
    Ok(vec![
        ExecutionApproved {
            execution_id: known.id,
            run_id: run.id(known.id),
            step_id: ballot.step.clone(),
            block_id: block.opened.block_id,
            by: ballot.by.clone(),
            plan_hash: ballot.plan_hash,
            inputs_digest: ballot.inputs_digest,
            note: note.map(str::to_owned),
            approved_at: now,
            rules: RULES,
        }
        .into(),
    ])
}

/// Who approved and changes his mind before the quorum may still reject.
pub fn reject(known: &Known, ballot: &Ballot, reason: &str, now: Timestamp) -> Decision {
    let rejected = known
        .ends_by(FailureCode::ApprovalRejected)
        .is_some_and(|stop| stop.step.as_ref() == Some(&ballot.step));
    if rejected && may_vote(known, ballot) {
        return Ok(Vec::new());
    }
    let (run, block) = votable(known, ballot, now)?;
    Ok(vec![
        ExecutionRejected {
            execution_id: known.id,
            run_id: run.id(known.id),
            step_id: ballot.step.clone(),
            block_id: block.opened.block_id,
            by: ballot.by.clone(),
            plan_hash: ballot.plan_hash,
            inputs_digest: ballot.inputs_digest,
            reason: reason.to_owned(),
            rejected_at: now,
            rules: RULES,
        }
        .into(),
    ])
}

fn step<'a>(known: &'a Known, id: &StepId) -> Option<&'a Step> {
    known.steps()?.get(id)
}

fn may_vote(known: &Known, ballot: &Ballot) -> bool {
    step(known, &ballot.step)
        .and_then(|step| step.block.as_ref())
        .is_some_and(|block| block.opened.approval.admits(&ballot.by, known.requester()))
}

fn open_block<'a>(known: &'a Known, id: &StepId) -> Option<(&'a Run, &'a Block)> {
    let Stage::Running(run) = &known.stage else {
        return None;
    };
    Some((run, run.steps.get(id)?.open_block()?))
}

fn votable<'a>(
    known: &'a Known,
    ballot: &Ballot,
    now: Timestamp,
) -> Result<(&'a Run, &'a Block), Rejection> {
    open(known)?;
    let Some((run, block)) = open_block(known, &ballot.step) else {
        let known_step = known
            .compiled()
            .is_some_and(|compiled| compiled.plan.step(&ballot.step).is_some());
        return Err(if known_step {
            Rejection::NoOpenBlock(ballot.step.clone())
        } else {
            Rejection::StepNotFound(ballot.step.clone())
        });
    };
    if let Some(id) = ballot.block.filter(|id| *id != block.opened.block_id) {
        return Err(Rejection::BlockSuperseded(id));
    }
    if !planted::is(Bug::RequesterVotes) && ballot.by.shares_a_person_with(known.requester()) {
        return Err(Rejection::RequesterCannotVote);
    }
    if !block.opened.approval.admits(&ballot.by, known.requester()) {
        return Err(Rejection::NotEligible(ballot.by.id.clone()));
    }
    // The recorded time is never before the event it follows.
    if !planted::is(Bug::LateVote) && known.head.time.max(now) >= block.opened.expires_at {
        return Err(Rejection::ApprovalExpired(block.opened.expires_at));
    }
    if ballot
        .plan_hash
        .is_some_and(|hash| hash != block.opened.plan_hash)
    {
        return Err(Rejection::PlanHashMismatch);
    }
    if ballot
        .inputs_digest
        .is_some_and(|digest| digest != block.opened.inputs_digest)
    {
        return Err(Rejection::InputsDigestMismatch);
    }
    Ok((run, block))
}
