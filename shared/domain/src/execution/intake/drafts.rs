//! `plan.compile`: a draft that is offered, and the plan that is asked for.

use contracts::{
    events::{
        intake::PlanDrafted,
        planner::{PlanCompiled, PlanSource, RejectionCause},
    },
    facts::Actor,
    ids::{DraftId, ExecutionId},
    plan::Finding,
    problem::Code,
    time::Timestamp,
};
use serde_json::Value;
use uuid::Uuid;

use super::{Decision, Rejection, open};
use crate::execution::{Known, RULES, Stage};

/// Which plan is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The one that is recorded, whatever it came from.
    Recorded,
    /// The one that this draft compiles to.
    Of(DraftId),
}

impl Asked {
    fn is_answered_by(self, compiled: &PlanCompiled) -> bool {
        match (self, &compiled.source) {
            (Self::Recorded, _) => true,
            (Self::Of(asked), PlanSource::Draft { draft_id }) => *draft_id == asked,
            (Self::Of(_), PlanSource::Intent | PlanSource::Playbook { .. }) => false,
        }
    }
}

/// The id of a draft: the same draft offered twice is one.
pub fn draft_id(execution: ExecutionId, draft: &Value) -> DraftId {
    let digest = contracts::facts::facts_digest(draft);
    DraftId::of(Uuid::new_v5(&execution.uuid(), digest.bytes()))
}

/// Whether the planner is about to go on by itself: whoever offers a draft now is only early.
pub fn planner_goes_on(known: &Known) -> bool {
    let is_passing = matches!(known.stage, Stage::Received | Stage::DraftRefused { .. });
    is_passing && known.stop.is_none()
}

pub fn offer_draft(
    known: &Known,
    draft: &Value,
    planner_model: Option<&str>,
    by: &Actor,
    now: Timestamp,
) -> Decision {
    let id = draft_id(known.id, draft);
    let is_planned = known
        .compiled()
        .is_some_and(|compiled| Asked::Of(id).is_answered_by(compiled));
    if is_planned {
        return Ok(Vec::new());
    }
    match &known.stage {
        Stage::Drafted { draft, .. } if draft.draft_id == id => return Ok(Vec::new()),
        Stage::AwaitingDraft { expires_at, .. } if known.stop.is_none() && now < *expires_at => {}
        Stage::AwaitingDraft { .. }
        | Stage::Received
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. }
        | Stage::Verified(_)
        | Stage::Running(_)
        | Stage::Rejected { .. }
        | Stage::Completed { .. }
        | Stage::Failed { .. } => return Err(Rejection::NotAwaitingDraft(known.status())),
    }
    Ok(vec![
        PlanDrafted {
            execution_id: known.id,
            draft_id: id,
            draft: draft.clone(),
            planner_model: planner_model.map(str::to_owned),
            by: by.clone(),
            drafted_at: now,
            rules: RULES,
        }
        .into(),
    ])
}

/// The plan; nothing while the planner is still to say.
pub fn plan(known: &Known, asked: Asked) -> Result<Option<&PlanCompiled>, Rejection> {
    if let Some(compiled) = known.compiled() {
        return if asked.is_answered_by(compiled) {
            Ok(Some(compiled))
        } else {
            // Another draft was compiled, which ends the wait for this one.
            Err(Rejection::NotAwaitingDraft(known.status()))
        };
    }
    match (&known.stage, asked) {
        (
            Stage::Rejected {
                cause, findings, ..
            },
            _,
        ) => Err(refused(*cause, findings)),
        (Stage::DraftRefused { findings, .. }, Asked::Of(_)) => {
            Err(refused(RejectionCause::Compile, findings))
        }
        (Stage::AwaitingDraft { .. }, Asked::Recorded) => {
            open(known)?;
            Err(Rejection::DraftRequired)
        }
        // The planner goes on from here, unless nobody does any more.
        (
            Stage::Received
            | Stage::AwaitingDraft { .. }
            | Stage::Drafted { .. }
            | Stage::DraftRefused { .. }
            | Stage::Compiled { .. }
            | Stage::Verified(_)
            | Stage::Running(_)
            | Stage::Completed { .. }
            | Stage::Failed { .. },
            _,
        ) => open(known).map(|()| None),
    }
}

fn refused(cause: RejectionCause, findings: &[Finding]) -> Rejection {
    let unsupported = Code::NotSupportedYet.as_str();
    let findings = findings.to_vec();
    if !findings.is_empty() && findings.iter().all(|finding| finding.code == unsupported) {
        Rejection::NotSupportedYet(findings)
    } else if cause == RejectionCause::DraftTimeout {
        Rejection::DraftTimedOut
    } else {
        Rejection::PlanRejected(findings)
    }
}
