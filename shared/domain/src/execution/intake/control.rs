//! Pausing a run, letting it go on, trying it again, and calling it off by its own id.

use contracts::{
    events::intake::{Paused, Resumed, RetryRequested},
    facts::Actor,
    ids::RunId,
    time::Timestamp,
};

use super::{Decision, Rejection, cancel, open};
use crate::execution::{Known, RULES, Run, Stage};

/// Which run of an execution is meant.
enum Place<'a> {
    /// The one that is under way.
    UnderWay(&'a Run),
    /// The last one, which has ended.
    Last,
    /// One that was followed by another.
    Earlier,
    /// It was asked for, and the executor has not begun it yet.
    ToCome,
    /// It was asked for, and the execution ended before it began.
    NeverBegun,
}

fn place(known: &Known, run: RunId) -> Result<Place<'_>, Rejection> {
    let (number, place) = match &known.stage {
        Stage::Running(under_way) => (under_way.number, Place::UnderWay(under_way)),
        Stage::Completed { run_id, .. } => (run_id.number, Place::Last),
        Stage::Failed {
            never_begun: Some(number),
            ..
        } if run.number == *number => (*number, Place::NeverBegun),
        Stage::Failed {
            run: Some(last), ..
        } => (last.number, Place::Last),
        Stage::Verified(verified) => match &verified.retried {
            Some(retried) => (retried.number, Place::ToCome),
            None => return Err(Rejection::RunNotFound(run)),
        },
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. }
        | Stage::Rejected { .. }
        | Stage::Failed { run: None, .. } => return Err(Rejection::RunNotFound(run)),
    };
    if run.execution != known.id || run.number > number {
        return Err(Rejection::RunNotFound(run));
    }
    Ok(if run.number == number {
        place
    } else {
        Place::Earlier
    })
}

/// The run that is meant, where it is under way and nothing ends it.
fn under_way(known: &Known, run: RunId) -> Result<&Run, Rejection> {
    match place(known, run)? {
        Place::UnderWay(under_way) => {
            open(known)?;
            Ok(under_way)
        }
        Place::ToCome => Err(Rejection::NotRunning(known.status())),
        Place::Last | Place::Earlier | Place::NeverBegun => Err(Rejection::RunEnded(run)),
    }
}

/// Nothing new is started from here on; what is under way ends, and votes count.
pub fn pause(
    known: &Known,
    run: RunId,
    by: &Actor,
    reason: Option<&str>,
    now: Timestamp,
) -> Decision {
    if under_way(known, run)?.paused {
        return Ok(Vec::new());
    }
    Ok(vec![
        Paused {
            execution_id: known.id,
            run_id: run,
            by: by.clone(),
            reason: reason.map(str::to_owned),
            paused_at: now,
            rules: RULES,
        }
        .into(),
    ])
}

pub fn resume(known: &Known, run: RunId, by: &Actor, now: Timestamp) -> Decision {
    let under_way = under_way(known, run)?;
    if !under_way.paused {
        // Where it was paused before, the same was asked and done.
        return if under_way.was_paused {
            Ok(Vec::new())
        } else {
            Err(Rejection::NotPaused(run))
        };
    }
    Ok(vec![
        Resumed {
            execution_id: known.id,
            run_id: run,
            by: by.clone(),
            resumed_at: now,
            rules: RULES,
        }
        .into(),
    ])
}

/// A failed run goes on from what it had not done. Not after what people decided: that would go
/// round them.
pub fn retry(
    known: &Known,
    run: RunId,
    by: &Actor,
    reason: Option<&str>,
    now: Timestamp,
) -> Decision {
    match place(known, run)? {
        // It was asked for, and what came of it is another run.
        Place::Earlier => Ok(Vec::new()),
        Place::UnderWay(_) | Place::ToCome => Err(Rejection::NotFailed(known.status())),
        // The one before it is still the last that ran.
        Place::NeverBegun => Err(Rejection::RunNotFound(run)),
        Place::Last => {
            let Stage::Failed { stop, .. } = &known.stage else {
                return Err(Rejection::NotFailed(known.status()));
            };
            if !stop.code.may_retry() {
                return Err(Rejection::RetryNotPermitted(stop.code));
            }
            Ok(vec![
                RetryRequested {
                    execution_id: known.id,
                    run_id: run,
                    by: by.clone(),
                    reason: reason.map(str::to_owned),
                    from: stop.step.clone(),
                    requested_at: now,
                    rules: RULES,
                }
                .into(),
            ])
        }
    }
}

/// As [`cancel`], by whoever knows the run.
pub fn cancel_run(
    known: &Known,
    run: RunId,
    by: &Actor,
    reason: Option<&str>,
    now: Timestamp,
) -> Decision {
    match place(known, run)? {
        Place::UnderWay(_) | Place::Last | Place::ToCome | Place::NeverBegun => {
            cancel(known, by, reason, now)
        }
        Place::Earlier => Err(Rejection::RunEnded(run)),
    }
}
