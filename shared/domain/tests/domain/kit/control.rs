//! Control that has no command yet: its events as intake would store them. And deadlines.

use contracts::{
    event::Service,
    events::{
        RULES,
        intake::{Paused, Resumed, RetryRequested},
    },
    ids::RunId,
};
use serde_json::Value;

use super::{MINUTE, World, at, draft, execution_id, submission, submitted, who};

pub const DEADLINE: i64 = 10 * MINUTE;

/// An intent with a deadline in ten minutes.
pub fn with_deadline(steps: &[Value]) -> World {
    let mut submission = submission(Some(draft(steps)));
    submission.deadline_at = Some(at(DEADLINE));
    submitted(submission)
}

fn run_id(world: &World) -> RunId {
    world.known().run_id().unwrap_or(RunId {
        execution: execution_id(),
        number: 1,
    })
}

pub fn paused(mut world: World) -> World {
    let event = Paused {
        execution_id: execution_id(),
        run_id: run_id(&world),
        by: who("ann"),
        reason: None,
        paused_at: at(world.now),
        rules: RULES,
    };
    world.store(event.into(), Service::Intake, None);
    world
}

pub fn resumed(mut world: World) -> World {
    let event = Resumed {
        execution_id: execution_id(),
        run_id: run_id(&world),
        by: who("ann"),
        resumed_at: at(world.now),
        rules: RULES,
    };
    world.store(event.into(), Service::Intake, None);
    world
}

pub fn retried(mut world: World) -> World {
    let event = RetryRequested {
        execution_id: execution_id(),
        run_id: run_id(&world),
        by: who("ann"),
        reason: None,
        from: None,
        requested_at: at(world.now),
        rules: RULES,
    };
    world.store(event.into(), Service::Intake, None);
    world
}
