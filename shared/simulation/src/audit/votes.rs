//! Which votes count. One that does not is not stored either: intake decides it on the version
//! that it is stored after.

use contracts::{
    canonical::Digest,
    events::{
        executor::FailureCode,
        intake::{ExecutionApproved, ExecutionRejected},
    },
    facts::{Actor, ActorType, Eligible},
    ids::{BlockId, StepId},
    record::Recorded,
    time::Timestamp,
};

use super::{
    execution::Execution,
    rule::{Check, Rule, broken, ensure},
    step::Block,
};

/// A vote, for or against.
struct Vote<'a> {
    step: &'a StepId,
    block: BlockId,
    by: &'a Actor,
    plan_hash: Option<Digest>,
    inputs_digest: Option<Digest>,
    /// As it is recorded: expiry is judged by it.
    at: Timestamp,
}

impl Execution {
    pub(super) fn approved(&mut self, recorded: &Recorded, event: &ExecutionApproved) -> Check {
        let block = self.counts(&Vote {
            step: &event.step_id,
            block: event.block_id,
            by: &event.by,
            plan_hash: event.plan_hash,
            inputs_digest: event.inputs_digest,
            at: recorded.time(),
        })?;
        let seen = event.plan_hash.is_some() || !block.rule.plan_hash_required;
        ensure(seen, Rule::VoteCannotCount, || {
            format!("`{}` named no plan, which this block asks for", event.by.id)
        })?;
        let person = event.by.person();
        ensure(
            !block.approved.contains(person),
            Rule::VoteCannotCount,
            || format!("`{person}` approved step `{}` before", event.step_id),
        )?;
        let step = self.step(&event.step_id)?;
        if let Some(block) = &mut step.block {
            block.approved.insert(person.clone());
        }
        step.voters.insert(person.clone());
        step.voters.insert(event.by.id.clone());
        Ok(())
    }

    pub(super) fn rejected(&mut self, recorded: &Recorded, event: &ExecutionRejected) -> Check {
        self.counts(&Vote {
            step: &event.step_id,
            block: event.block_id,
            by: &event.by,
            plan_hash: event.plan_hash,
            inputs_digest: event.inputs_digest,
            at: recorded.time(),
        })?;
        self.step(&event.step_id)?.was_rejected = true;
        self.stop = Some(FailureCode::ApprovalRejected);
        Ok(())
    }

    /// The open block, where the vote is for it.
    fn counts(&self, vote: &Vote<'_>) -> Check<&Block> {
        let open = self.steps.get(vote.step).and_then(|step| step.open_block());
        let Some(block) = open.filter(|block| block.id == vote.block) else {
            return broken(
                Rule::VoteCannotCount,
                format!("block {} of step `{}` is not open", vote.block, vote.step),
            );
        };
        let (at, due) = (vote.at, block.expires_at);
        ensure(at < due, Rule::VoteCannotCount, || {
            format!(
                "`{}` voted at {at}, and the block expired at {due}",
                vote.by.id
            )
        })?;
        ensure(self.may_vote(vote.by, block), Rule::VoteCannotCount, || {
            format!("`{}` may not vote on step `{}`", vote.by.id, vote.step)
        })?;
        let same = vote.plan_hash.is_none_or(|hash| hash == block.plan_hash)
            && vote
                .inputs_digest
                .is_none_or(|digest| digest == block.inputs_digest);
        ensure(same, Rule::VoteCannotCount, || {
            format!("`{}` looked at another plan or other inputs", vote.by.id)
        })?;
        Ok(block)
    }

    /// A person with one of the grants or names, who did not ask for it himself.
    fn may_vote(&self, voter: &Actor, block: &Block) -> bool {
        let named = block.rule.eligible.iter().any(|eligible| match eligible {
            Eligible::Grant(grant) => voter.grants.contains(grant),
            Eligible::Principal(id) => voter.id == *id,
        });
        named && voter.kind != ActorType::Agent && !voter.shares_a_person_with(&self.requester)
    }
}
