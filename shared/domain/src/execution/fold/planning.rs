//! The events before a run: drafts, plans, and verdicts on them.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a stage that an event does not name is one it may not follow"
)]

use std::sync::Arc;

use contracts::{
    events::{
        intake::{ExecutionStartRequested, PlanDrafted, PlanVerificationRequested},
        planner::{DraftRequested, PlanCompiled, PlanRejected, RejectionCause},
        verifier::PlanVerified,
    },
    plan::Verdict,
};

use super::{Fold, misplaced};
use crate::execution::{DRAFTS_MAX, Judged, Known, Stage, Verified};

/// Nothing is planned or judged any more while the execution stops.
fn going_on(known: &Known) -> Fold {
    if known.stop.is_some() {
        return Err("nothing new begins while it stops".to_owned());
    }
    Ok(())
}

pub(super) fn draft_requested(known: &mut Known, event: &DraftRequested) -> Fold {
    going_on(known)?;
    let attempt = match known.stage {
        Stage::Received => 1,
        Stage::DraftRefused { attempt, .. } if attempt < DRAFTS_MAX => attempt + 1,
        _ => return misplaced(known),
    };
    if event.attempt != attempt {
        return Err(format!("draft attempt {attempt} is next"));
    }
    known.stage = Stage::AwaitingDraft {
        attempt,
        expires_at: event.expires_at,
    };
    Ok(())
}

pub(super) fn drafted(known: &mut Known, event: &PlanDrafted) -> Fold {
    going_on(known)?;
    let Stage::AwaitingDraft { attempt, .. } = known.stage else {
        return misplaced(known);
    };
    known.stage = Stage::Drafted {
        attempt,
        draft: Arc::new(event.clone()),
    };
    Ok(())
}

pub(super) fn compiled(known: &mut Known, event: &PlanCompiled) -> Fold {
    going_on(known)?;
    match known.stage {
        Stage::Received | Stage::Drafted { .. } => {
            known.stage = Stage::Compiled {
                compiled: Arc::new(event.clone()),
            };
            Ok(())
        }
        _ => misplaced(known),
    }
}

/// Legal only in the state of its cause.
pub(super) fn rejected(known: &mut Known, event: &PlanRejected) -> Fold {
    going_on(known)?;
    let judged = match (&known.stage, event.cause, event.is_final) {
        (Stage::Drafted { attempt, .. }, RejectionCause::Compile, false)
            if *attempt < DRAFTS_MAX =>
        {
            known.stage = Stage::DraftRefused {
                attempt: *attempt,
                findings: event.findings.clone(),
            };
            return Ok(());
        }
        (Stage::Received | Stage::Drafted { .. }, RejectionCause::Compile, true)
        | (Stage::AwaitingDraft { .. }, RejectionCause::DraftTimeout, true) => None,
        (Stage::Verified(verified), RejectionCause::Policy, true)
            if verified.judged.verdict.verdict == Verdict::Blocked =>
        {
            Some(verified.judged.clone())
        }
        _ => return misplaced(known),
    };
    known.stage = Stage::Rejected {
        cause: event.cause,
        findings: event.findings.clone(),
        judged,
    };
    Ok(())
}

pub(super) fn verified(known: &mut Known, event: &PlanVerified) -> Fold {
    going_on(known)?;
    let Stage::Compiled { compiled } = &known.stage else {
        return misplaced(known);
    };
    if event.plan_id != compiled.plan_id {
        return Err("the verdict is on another plan".to_owned());
    }
    known.stage = Stage::Verified(Verified {
        judged: Judged {
            compiled: Arc::clone(compiled),
            verdict: Arc::new(event.clone()),
        },
        start: None,
        retried: None,
    });
    Ok(())
}

pub(super) fn verification_requested(known: &mut Known, event: &PlanVerificationRequested) -> Fold {
    going_on(known)?;
    match &known.stage {
        Stage::Verified(verified)
            if verified.start.is_none() && verified.judged.compiled.plan_id == event.plan_id =>
        {
            known.stage = Stage::Compiled {
                compiled: Arc::clone(&verified.judged.compiled),
            };
            Ok(())
        }
        _ => misplaced(known),
    }
}

/// By hand, and never looser than the intent asked for.
pub(super) fn start_requested(known: &mut Known, event: &ExecutionStartRequested) -> Fold {
    going_on(known)?;
    let intent = &known.intent;
    match &mut known.stage {
        Stage::Verified(verified)
            if verified.mode(intent).is_none()
                && verified.judged.compiled.plan_id == event.plan_id
                && verified.judged.verdict.verdict != Verdict::Blocked
                && event.mode >= intent.mode =>
        {
            verified.start = Some(event.mode);
            Ok(())
        }
        _ => misplaced(known),
    }
}
