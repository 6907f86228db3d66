//! The states that the table is about: every kind, and those that differ only in their answers.

use contracts::{
    event::EventName,
    plan::{Mode, Start},
};
use serde_json::json;

use super::super::kit::{
    HOUR, Input, World, after, assist, draft, given,
    states::{states, with},
    step, submission, submitted,
};

pub fn rows() -> Vec<(&'static str, World)> {
    let mut rows = states();
    rows.extend(before_a_run());
    rows.extend(votes());
    rows.extend(ends());
    rows.push((
        "corrupt",
        with(given(&[step("a")]), EventName::ExecutionStarted),
    ));
    rows
}

fn awaiting() -> World {
    submitted(submission(None)).when(Input::Planner)
}

fn offered() -> World {
    awaiting()
        .when(Input::Offer(draft(&[step("a")])))
        .then(["drafted"])
}

fn by_hand(mode: Mode) -> World {
    let mut submission = submission(Some(draft(&[step("a")])));
    submission.start = Start::Manual;
    submission.mode = mode;
    submitted(submission).judged()
}

fn before_a_run() -> Vec<(&'static str, World)> {
    let refused = || {
        awaiting()
            .when(Input::Offer(draft(&[])))
            .when(Input::Planner)
            .then(["rejected: compile"])
            .when(Input::Planner)
            .then(["draft requested #2"])
    };
    vec![
        ("awaiting a draft after one that was refused", refused()),
        ("awaiting a draft, its time is over", awaiting().at(HOUR)),
        (
            "awaiting a draft, stopping",
            awaiting().when(Input::Cancel("sam")),
        ),
        ("compiled from an offered draft", offered().planned()),
        (
            "compiled, stopping",
            given(&[step("a")]).planned().when(Input::Cancel("sam")),
        ),
        ("verified, by hand, in mode assist", by_hand(Mode::Assist)),
        (
            "verified, its start requested",
            by_hand(Mode::Autonomous)
                .when(Input::Start(None))
                .then(["start requested: Autonomous"]),
        ),
        (
            "verified, its start requested in mode assist",
            by_hand(Mode::Autonomous)
                .when(Input::Start(Some(Mode::Assist)))
                .then(["start requested: Assist"]),
        ),
        (
            "verified, its start requested, stopping",
            by_hand(Mode::Autonomous)
                .when(Input::Start(None))
                .when(Input::Cancel("sam")),
        ),
    ]
}

fn votes() -> Vec<(&'static str, World)> {
    let blocked = || given(&[step("a")]).says("a", assist()).driven();
    let of_two = || {
        given(&[step("a")])
            .says("a", assist().quorum(2))
            .driven()
            .when_approved("a", "ann")
            .then(["a approved by ann"])
    };
    vec![
        (
            "a is blocked, of high risk",
            given(&[step("a")]).says("a", assist().high()).driven(),
        ),
        ("a is blocked, one of two has approved", of_two()),
        (
            "a is blocked, one of two has approved, stopping",
            of_two().when(Input::Cancel("sam")),
        ),
        ("a is blocked, its time is over", blocked().at(HOUR)),
        (
            "a is blocked, one of two has approved, its time is over",
            of_two().at(HOUR),
        ),
        (
            "a is started, reported as completed",
            with(given(&[step("a")]).driven(), EventName::StepReported),
        ),
        (
            "a was approved and is started",
            blocked()
                .when_approved("a", "ann")
                .when_woken(1)
                .then(["a started #1"]),
        ),
        (
            "a was rejected, stopping",
            blocked()
                .when_rejected("a", "ann")
                .then(["a rejected by ann"]),
        ),
        (
            "failed, a was rejected",
            blocked()
                .when_rejected("a", "ann")
                .when_woken(1)
                .then(["failed: APPROVAL_REJECTED"]),
        ),
        (
            "failed, nobody voted on a in time",
            blocked()
                .at(HOUR)
                .when_timer(1)
                .then(["failed: APPROVAL_EXPIRED"]),
        ),
    ]
}

fn ends() -> Vec<(&'static str, World)> {
    let mut unsupported = step("a");
    unsupported["when"] = json!("later");
    let observed = || {
        let mut submission = submission(Some(draft(&[step("a")])));
        submission.mode = Mode::Observe;
        submitted(submission)
            .judged()
            .when_woken(1)
            .then(["completed: observed"])
    };
    let failed = || {
        given(&[step("a"), after("b", &["a"])])
            .driven()
            .when_failed("a")
            .when_woken(1)
            .then(["failed: STEP_FAILED"])
    };
    vec![
        (
            "rejected, its draft does not compile",
            given(&[])
                .when(Input::Planner)
                .then(["rejected: compile for good"]),
        ),
        (
            "rejected, its draft asks for what is not supported",
            given(&[unsupported])
                .when(Input::Planner)
                .then(["rejected: compile for good"]),
        ),
        (
            "rejected, no draft came in time",
            awaiting()
                .at(HOUR)
                .when(Input::Planner)
                .then(["rejected: draft_timeout for good"]),
        ),
        ("completed, only observed", observed()),
        (
            "completed, from an offered draft",
            offered()
                .driven()
                .when_succeeded("a")
                .when_woken(1)
                .then(["completed"]),
        ),
        (
            "completed in mode assist, by hand",
            by_hand(Mode::Autonomous)
                .when(Input::Start(Some(Mode::Assist)))
                .when_woken(1)
                .when_approved("a", "ann")
                .when_woken(1)
                .when_succeeded("a")
                .when_woken(1)
                .then(["completed"]),
        ),
        (
            "cancelled before it had a plan",
            given(&[step("a")])
                .when(Input::Cancel("sam"))
                .when_woken(1)
                .then(["failed: CANCELLED"]),
        ),
        (
            "cancelled before it ran",
            given(&[step("a")])
                .judged()
                .when(Input::Cancel("sam"))
                .when_woken(1)
                .then(["failed: CANCELLED"]),
        ),
        (
            "retried, stopping",
            with(failed(), EventName::RetryRequested).when(Input::Cancel("sam")),
        ),
    ]
}
