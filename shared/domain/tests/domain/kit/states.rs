//! Every kind of state that an execution can be in.

use contracts::{
    event::{EventName, Service},
    plan::{Mode, Start},
};

use super::{
    Input, World, after, assist, blocked, draft, given, samples::sample, step, submission,
    submitted, tried,
};

/// Every kind of state, each with a step `a` where there is a plan.
pub fn states() -> Vec<(&'static str, World)> {
    let awaiting = || submitted(submission(None)).when(Input::Planner);
    let steps = [step("a"), after("b", &["a"])];
    let running = || given(&steps).driven();
    let by_hand = || {
        let mut submission = submission(Some(draft(&steps)));
        submission.start = Start::Manual;
        submitted(submission).judged()
    };
    let observed = || {
        let mut submission = submission(Some(draft(&steps)));
        submission.mode = Mode::Observe;
        submitted(submission).judged()
    };
    let unrejected = || {
        let mut world = given(&steps).says("a", blocked()).planned();
        let verdict = world.decide(&Input::Verifier).unwrap().remove(0);
        world.store(verdict, Service::Verifier, None);
        world
    };
    let proposed = || {
        given(&steps)
            .judged()
            .catalogue(|shop| shop.activate("other"))
            .when_woken(1)
    };
    let accepted = || with(running(), EventName::StepAccepted);
    let done = || given(&[step("a")]).driven().when_succeeded("a");
    let failed = || running().when_failed("a").when_woken(1);
    vec![
        ("nothing", World::empty()),
        ("received", given(&steps)),
        (
            "received, stopping",
            given(&steps).when(Input::Cancel("sam")),
        ),
        ("awaiting a draft", awaiting()),
        ("drafted", awaiting().when(Input::Offer(draft(&steps)))),
        (
            "draft refused",
            awaiting()
                .when(Input::Offer(draft(&[])))
                .when(Input::Planner),
        ),
        ("compiled", given(&steps).planned()),
        ("verified", given(&steps).judged()),
        ("verified, by hand", by_hand()),
        ("verified, observed", observed()),
        ("verified, blocked", unrejected()),
        (
            "verified, stopping",
            given(&steps).judged().when(Input::Cancel("sam")),
        ),
        ("a is blocked", given(&steps).says("a", assist()).driven()),
        ("a is proposed", proposed()),
        ("a is started", running()),
        ("a is accepted", accepted()),
        (
            "a waits to be tried again",
            given(&[tried("a", 2)]).driven().when_failed("a"),
        ),
        ("a is completed, b is not", running().when_succeeded("a")),
        ("all is completed", done()),
        ("a is started, paused", with(running(), EventName::Paused)),
        (
            "a is started, stopping",
            running().when(Input::Cancel("sam")),
        ),
        ("a has failed, stopping", running().when_failed("a")),
        (
            "rejected by policy",
            given(&steps).says("a", blocked()).judged(),
        ),
        ("completed", done().when_woken(1)),
        ("failed", failed()),
        ("cancelled", done().when(Input::Cancel("sam")).when_woken(1)),
        ("retried", with(failed(), EventName::RetryRequested)),
    ]
}

/// What no command or decider of this version writes is stored as it would be written.
pub fn with(mut world: World, event: EventName) -> World {
    let event = sample(event, &world);
    world.store(event, Service::Executor, None);
    world
}
