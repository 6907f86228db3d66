//! Who must agree before a step goes on: the strictest of what the deciding policies ask for.

use std::collections::BTreeSet;

use contracts::{
    facts::{Actor, ApprovalRule, Eligible},
    plan::RiskTier,
};

use crate::annotations::{Annotations, can_reach};

/// The grant that makes a voter eligible where no policy names approvers.
pub const APPROVE_GRANT: &str = "execution.approve";

/// How long a block waits where no policy says: one working day and a night.
pub const EXPIRES_AFTER_MS: u64 = 24 * 60 * 60 * 1000;

/// The deciding policies ask for an approval that nobody can give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    #[error(
        "the deciding policies name approvers that have nobody in common; let their `@approvers` overlap"
    )]
    NobodyInCommon,
    #[error(
        "{quorum} approvals are needed, but only {named} of the named approvers may vote, the requester not counted"
    )]
    TooFew { quorum: u32, named: usize },
}

/// Where no policy says otherwise.
pub fn standard(tier: RiskTier) -> ApprovalRule {
    ApprovalRule {
        quorum: 1,
        eligible: BTreeSet::from([Eligible::Grant(APPROVE_GRANT.to_owned())]),
        expires_after_ms: EXPIRES_AFTER_MS,
        plan_hash_required: tier >= RiskTier::High,
    }
}

/// The largest quorum, the approvers that every policy accepts, the shortest time.
pub(crate) fn strictest<'a>(
    deciding: impl Iterator<Item = &'a Annotations>,
    tier: RiskTier,
    requester: &Actor,
) -> Result<ApprovalRule, Impossible> {
    let mut rule = standard(tier);
    let mut eligible: Option<BTreeSet<Eligible>> = None;
    let mut expires_after_ms: Option<u64> = None;
    for said in deciding {
        rule.quorum = rule.quorum.max(said.quorum.unwrap_or(1));
        if let Some(approvers) = &said.approvers {
            eligible = Some(match eligible {
                None => approvers.clone(),
                Some(before) => before.intersection(approvers).cloned().collect(),
            });
        }
        if let Some(ms) = said.expires_after_ms {
            expires_after_ms = Some(expires_after_ms.map_or(ms, |before| before.min(ms)));
        }
    }
    if let Some(eligible) = eligible {
        rule.eligible = eligible;
    }
    if let Some(ms) = expires_after_ms {
        rule.expires_after_ms = ms;
    }
    if rule.eligible.is_empty() {
        return Err(Impossible::NobodyInCommon);
    }
    let others: BTreeSet<Eligible> = rule
        .eligible
        .iter()
        .filter(|eligible| **eligible != Eligible::Principal(requester.id.clone()))
        .cloned()
        .collect();
    if !can_reach(rule.quorum, &others) {
        return Err(Impossible::TooFew {
            quorum: rule.quorum,
            named: others.len(),
        });
    }
    Ok(rule)
}
