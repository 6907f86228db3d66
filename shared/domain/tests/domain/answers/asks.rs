//! Every command that a caller may give to an execution, in every way that tells answers apart.

use contracts::{
    canonical::Digest,
    event::{Event, Service},
    ids::{BlockId, IntentId, PlanId, RunId},
    plan::Mode,
    registry::OperationName,
};
use domain::execution::{
    Execution, Known, Stage,
    intake::{self, Asked, Ballot, Decision, Failed, Rejection, Report, Submission},
};
use serde_json::Value;
use uuid::Uuid;

use super::super::kit::{World, at, ballot, draft, execution_id, step, submission, who};

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Appends(Vec<Event>),
    /// Nothing is appended: what was asked is recorded.
    Same,
    /// Nothing is appended: this service is about to record it.
    Waits(Service),
    Refused(Rejection),
    /// In this state nobody can ask it.
    NoSuchThing,
}

type Of = fn(&World) -> Answer;

pub struct Ask {
    pub operation: OperationName,
    pub how: &'static str,
    pub of: Of,
}

pub fn asks() -> Vec<Ask> {
    use OperationName::{
        ExecutionAbort, ExecutionApprove, ExecutionCancel, ExecutionPause, ExecutionReject,
        ExecutionResume, ExecutionRetry, ExecutionShutdown, ExecutionStart, IntentSubmit,
        PlanCompile, PlanVerify, StepReport,
    };
    let list: [(OperationName, &[(&'static str, Of)]); 13] = [
        (
            IntentSubmit,
            &[
                ("the same request", |world| submit(world, |_| ())),
                ("another request under the same key", |world| {
                    submit(world, |submission| submission.text.push_str(" else"))
                }),
            ],
        ),
        (
            PlanCompile,
            &[
                ("without a draft", compile),
                ("with a draft", |world| offer(world, &draft(&[step("z")]))),
                (
                    "with the draft that was taken last",
                    |world| match last_draft(world) {
                        Some(draft) => offer(world, draft),
                        None => Answer::NoSuchThing,
                    },
                ),
                ("naming another intent", |world| {
                    let other = IntentId::of(Uuid::nil());
                    let known = intake::of_intent(&world.state, execution_id(), other);
                    answered(known.map(|_| Vec::new()), None)
                }),
            ],
        ),
        (
            PlanVerify,
            &[
                ("its plan", |world| verify(world, plan_of(world))),
                ("another plan", |world| {
                    verify(world, PlanId::of(Uuid::nil()))
                }),
            ],
        ),
        (
            ExecutionStart,
            &[
                ("in the intent's mode, or naming none", |world| {
                    start(world, plan_of(world), Some(mode_of(world)))
                }),
                ("in a stricter mode", |world| {
                    let stricter = match mode_of(world) {
                        Mode::Autonomous => Some(Mode::Assist),
                        Mode::Assist => Some(Mode::Observe),
                        Mode::Observe => None,
                    };
                    start(world, plan_of(world), stricter)
                }),
                ("in a looser mode", |world| {
                    let looser = match mode_of(world) {
                        Mode::Autonomous => None,
                        Mode::Assist => Some(Mode::Autonomous),
                        Mode::Observe => Some(Mode::Assist),
                    };
                    start(world, plan_of(world), looser)
                }),
                ("another plan", |world| {
                    start(world, PlanId::of(Uuid::nil()), Some(mode_of(world)))
                }),
            ],
        ),
        (
            ExecutionApprove,
            &[
                ("by someone who may vote", |world| {
                    approve(world, &ballot("a", "bob"))
                }),
                ("naming the plan's hash", |world| {
                    let plan_hash = compiled_hash(world);
                    plan_hash.map_or(Answer::NoSuchThing, |_| {
                        let ballot = ballot("a", "bob");
                        approve(
                            world,
                            &Ballot {
                                plan_hash,
                                ..ballot
                            },
                        )
                    })
                }),
                ("by who approved it before", |world| {
                    earlier(world).map_or(Answer::NoSuchThing, |vote| approve(world, &vote))
                }),
                ("by the requester", |world| {
                    approve(world, &ballot("a", "sam"))
                }),
                ("by someone who may not", |world| {
                    approve(world, &ballot("a", "eve"))
                }),
                ("naming another plan's hash", |world| {
                    approve(world, &of_another_plan())
                }),
                ("naming other inputs", |world| {
                    approve(world, &of_other_inputs())
                }),
                ("naming another block", |world| {
                    approve(world, &of_another_block())
                }),
                ("on a step that the plan does not have", |world| {
                    approve(world, &ballot("z", "bob"))
                }),
            ],
        ),
        (
            ExecutionReject,
            &[
                ("by someone who may vote", |world| {
                    reject(world, &ballot("a", "bob"))
                }),
                ("by who approved it before", |world| {
                    earlier(world).map_or(Answer::NoSuchThing, |vote| reject(world, &vote))
                }),
                ("by the requester", |world| {
                    reject(world, &ballot("a", "sam"))
                }),
                ("by someone who may not", |world| {
                    reject(world, &ballot("a", "eve"))
                }),
                ("naming another plan's hash", |world| {
                    reject(world, &of_another_plan())
                }),
                ("naming other inputs", |world| {
                    reject(world, &of_other_inputs())
                }),
                ("naming another block", |world| {
                    reject(world, &of_another_block())
                }),
                ("on a step that the plan does not have", |world| {
                    reject(world, &ballot("z", "bob"))
                }),
            ],
        ),
        (
            ExecutionCancel,
            &[("by anyone with the grant", |world| {
                let decision = existing(world)
                    .and_then(|known| intake::cancel(known, &who("ann"), None, now(world)));
                answered(decision, None)
            })],
        ),
        (
            ExecutionPause,
            &[
                (LAST_RUN, |world| of_run(world, last_run(world), pause)),
                (EARLIER_RUN, |world| {
                    of_run(world, earlier_run(world), pause)
                }),
                (NO_RUN, |world| of_run(world, Some(no_run()), pause)),
            ],
        ),
        (
            ExecutionResume,
            &[
                (LAST_RUN, |world| of_run(world, last_run(world), resume)),
                (EARLIER_RUN, |world| {
                    of_run(world, earlier_run(world), resume)
                }),
                (NO_RUN, |world| of_run(world, Some(no_run()), resume)),
            ],
        ),
        (
            ExecutionRetry,
            &[
                (LAST_RUN, |world| of_run(world, last_run(world), retry)),
                (EARLIER_RUN, |world| {
                    of_run(world, earlier_run(world), retry)
                }),
                (NO_RUN, |world| of_run(world, Some(no_run()), retry)),
            ],
        ),
        (
            ExecutionAbort,
            &[
                (LAST_RUN, |world| of_run(world, last_run(world), abort)),
                (EARLIER_RUN, |world| {
                    of_run(world, earlier_run(world), abort)
                }),
                (NO_RUN, |world| of_run(world, Some(no_run()), abort)),
            ],
        ),
        (
            ExecutionShutdown,
            &[
                (LAST_RUN, |world| of_run(world, last_run(world), abort)),
                (EARLIER_RUN, |world| {
                    of_run(world, earlier_run(world), abort)
                }),
                (NO_RUN, |world| of_run(world, Some(no_run()), abort)),
            ],
        ),
        (
            StepReport,
            &[
                ("as completed", |world| {
                    report(world, "a", last_token(world), Ok(Value::Null))
                }),
                ("as failed", |world| {
                    report(world, "a", last_token(world), Err(broken()))
                }),
                ("with another token", |world| {
                    report(world, "a", Some(Digest::of(b"another")), Ok(Value::Null))
                }),
                ("on a step that the plan does not have", |world| {
                    report(world, "z", Some(Digest::of(b"another")), Ok(Value::Null))
                }),
            ],
        ),
    ];
    list.into_iter()
        .flat_map(|(operation, ways)| {
            ways.iter()
                .map(move |&(how, of)| Ask { operation, how, of })
        })
        .collect()
}

const LAST_RUN: &str = "the current run, or the last one";
const EARLIER_RUN: &str = "a run before it";
const NO_RUN: &str = "a run that there is not";

type OfRun = fn(&Known, RunId, contracts::time::Timestamp) -> Decision;

fn pause(known: &Known, run: RunId, now: contracts::time::Timestamp) -> Decision {
    intake::pause(known, run, &who("ann"), None, now)
}

fn resume(known: &Known, run: RunId, now: contracts::time::Timestamp) -> Decision {
    intake::resume(known, run, &who("ann"), now)
}

fn retry(known: &Known, run: RunId, now: contracts::time::Timestamp) -> Decision {
    intake::retry(known, run, &who("ann"), None, now)
}

fn abort(known: &Known, run: RunId, now: contracts::time::Timestamp) -> Decision {
    intake::cancel_run(known, run, &who("ann"), None, now)
}

/// Nothing where there is no such run.
fn of_run(world: &World, run: Option<RunId>, ask: OfRun) -> Answer {
    let Some(run) = run else {
        return Answer::NoSuchThing;
    };
    answered(
        intake::of_run(&world.state, run).and_then(|known| ask(known, run, now(world))),
        None,
    )
}

fn last_run(world: &World) -> Option<RunId> {
    world.state.known()?.run_id()
}

fn earlier_run(world: &World) -> Option<RunId> {
    let last = last_run(world).filter(|last| last.number > 1)?;
    Some(RunId {
        number: last.number - 1,
        ..last
    })
}

fn no_run() -> RunId {
    RunId {
        execution: execution_id(),
        number: 99,
    }
}

fn now(world: &World) -> contracts::time::Timestamp {
    at(world.now)
}

fn existing(world: &World) -> Result<&Known, Rejection> {
    intake::existing(&world.state, execution_id())
}

fn answered(decision: Decision, awaited: Option<Service>) -> Answer {
    match (decision, awaited) {
        (Err(rejection), _) => Answer::Refused(rejection),
        (Ok(events), _) if !events.is_empty() => Answer::Appends(events),
        (Ok(_), Some(service)) => Answer::Waits(service),
        (Ok(_), None) => Answer::Same,
    }
}

/// The request that the execution came of, changed.
fn submit(world: &World, change: impl FnOnce(&mut Submission)) -> Answer {
    let mut submission = match &world.state {
        Execution::Known(known) => {
            let intent = known.intent.as_ref().clone();
            Submission {
                actor: intent.actor,
                channel_key: intent.channel_key,
                text: intent.text,
                metadata: intent.metadata,
                draft: intent.draft,
                start: intent.start,
                mode: intent.mode,
                deadline_at: intent.deadline_at,
            }
        }
        Execution::NeverReceived | Execution::Corrupt(_) => submission(Some(draft(&[step("a")]))),
    };
    change(&mut submission);
    let decision = intake::submit(&world.state, execution_id(), &submission, now(world));
    answered(decision, None)
}

fn of_its_intent(world: &World) -> Result<&Known, Rejection> {
    let id = execution_id();
    intake::of_intent(&world.state, id, intake::intent_id(id))
}

fn compile(world: &World) -> Answer {
    match of_its_intent(world).and_then(|known| intake::plan(known, Asked::Recorded)) {
        Ok(Some(_)) => Answer::Same,
        Ok(None) => Answer::Waits(Service::Planner),
        Err(rejection) => Answer::Refused(rejection),
    }
}

fn last_draft(world: &World) -> Option<&Value> {
    world
        .log
        .iter()
        .rev()
        .find_map(|recorded| match &recorded.event {
            Event::PlanDrafted(event) => Some(&event.draft),
            _ => None,
        })
}

fn offer(world: &World, draft: &Value) -> Answer {
    let known = match of_its_intent(world) {
        Ok(known) => known,
        Err(rejection) => return Answer::Refused(rejection),
    };
    if intake::planner_goes_on(known) {
        return Answer::Waits(Service::Planner);
    }
    match intake::offer_draft(known, draft, Some("llm"), &who("bot"), now(world)) {
        Ok(events) if events.is_empty() => {
            let asked = Asked::Of(intake::draft_id(known.id, draft));
            match intake::plan(known, asked) {
                Ok(Some(_)) => Answer::Same,
                Ok(None) => Answer::Waits(Service::Planner),
                Err(rejection) => Answer::Refused(rejection),
            }
        }
        decision => answered(decision, None),
    }
}

fn plan_of(world: &World) -> PlanId {
    let compiled = world.state.known().and_then(|known| known.compiled());
    compiled.map_or(PlanId::of(Uuid::nil()), |compiled| compiled.plan_id)
}

fn verify(world: &World, plan: PlanId) -> Answer {
    let decision =
        existing(world).and_then(|known| intake::verify(known, plan, &who("sam"), now(world)));
    answered(decision, Some(Service::Verifier))
}

fn mode_of(world: &World) -> Mode {
    world
        .state
        .known()
        .map_or(Mode::Autonomous, |known| known.intent.mode)
}

/// Nothing where there is no such mode.
fn start(world: &World, plan: PlanId, mode: Option<Mode>) -> Answer {
    if mode.is_none() {
        return Answer::NoSuchThing;
    }
    let decision =
        existing(world).and_then(|known| intake::start(known, plan, mode, &who("sam"), now(world)));
    let is_to_come = world
        .state
        .known()
        .is_some_and(|known| matches!(known.stage, Stage::Verified(_)));
    answered(decision, is_to_come.then_some(Service::Executor))
}

fn approve(world: &World, ballot: &Ballot) -> Answer {
    let decision =
        existing(world).and_then(|known| intake::approve(known, ballot, None, now(world)));
    answered(decision, None)
}

fn reject(world: &World, ballot: &Ballot) -> Answer {
    let decision =
        existing(world).and_then(|known| intake::reject(known, ballot, "no", now(world)));
    answered(decision, None)
}

/// Nothing where the step was never started, so that nobody has a token.
fn report(
    world: &World,
    step: &str,
    token_hash: Option<Digest>,
    result: Result<Value, Failed>,
) -> Answer {
    let Some(token_hash) = token_hash else {
        return Answer::NoSuchThing;
    };
    let report = Report {
        step: step.parse().unwrap(),
        token_hash,
        by: who("fulfilment"),
        result,
    };
    let decision = existing(world).and_then(|known| intake::report(known, &report, now(world)));
    answered(decision, None)
}

fn broken() -> Failed {
    Failed {
        code: None,
        message: None,
        retryable: true,
    }
}

fn last_token(world: &World) -> Option<Digest> {
    let steps = world.state.known()?.steps()?;
    let step = steps.get(&"a".parse().unwrap())?;
    step.tokens.get(&step.attempts).copied()
}

fn compiled_hash(world: &World) -> Option<Digest> {
    let compiled = world.state.known()?.compiled()?;
    Some(compiled.deterministic_hash)
}

/// A vote of whoever has approved step `a`.
fn earlier(world: &World) -> Option<Ballot> {
    let block = world
        .state
        .known()?
        .steps()?
        .get(&"a".parse().unwrap())?
        .block
        .as_ref()?;
    let voter = block.votes.keys().next()?;
    Some(ballot("a", voter.as_str()))
}

fn of_another_plan() -> Ballot {
    Ballot {
        plan_hash: Some(Digest::of(b"another plan")),
        ..ballot("a", "bob")
    }
}

fn of_other_inputs() -> Ballot {
    Ballot {
        inputs_digest: Some(Digest::of(b"other inputs")),
        ..ballot("a", "bob")
    }
}

fn of_another_block() -> Ballot {
    Ballot {
        block: Some(BlockId::of(Uuid::nil())),
        ..ballot("a", "bob")
    }
}
