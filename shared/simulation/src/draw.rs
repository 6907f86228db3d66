//! A script from a seed: what people ask for, and what goes wrong.

use contracts::{
    event::{EventName, Service},
    plan::Mode,
};

use crate::{
    chance::{Chance, place},
    script::{
        Action, Again, Bundle, Control, Ending, Instance, Name, Person, Plan, Point, Script, Shown,
        Skill, Submit, Timed, Vote, When, Wire, Workers,
    },
    shop::EXPIRES_MS,
};

/// How long people ask and faults happen, in milliseconds.
const STORY_MS: u64 = 22_000;

/// Plans by how often they are asked for.
const PLANS: &[Plan] = &[
    Plan::Echo,
    Plan::Chain,
    Plan::Chain,
    Plan::Pair,
    Plan::Pair,
    Plan::Change,
    Plan::Change,
    Plan::Change,
    Plan::Pay,
    Plan::Pay,
    Plan::Pay,
    Plan::Erase,
    Plan::Erase,
    Plan::Wait,
    Plan::Wait,
    Plan::Retry,
    Plan::Retry,
    Plan::Wide,
    Plan::Wide,
    Plan::Mail,
    Plan::Mail,
    Plan::Forbidden,
    Plan::Broken,
    Plan::Playbook,
    Plan::Absent,
    Plan::Absent,
];

pub fn script(seed: u64) -> Script {
    let mut chance = Chance::at(seed, [place("script")]);
    // Drawn apart, so that what else happens under a seed stays as it was.
    let mut control = Chance::at(seed, [place("control")]);
    let mut actions: Vec<Timed> = Vec::new();
    let executions = chance.between(1, 4);
    for number in 1..=executions {
        let name = Name(u8::try_from(number).unwrap_or(u8::MAX));
        actions.extend(execution(name, control.percent(12), &mut chance));
    }
    // A third of the worlds is left in peace: what goes wrong there goes wrong by itself.
    let asked: Vec<When> = actions.iter().map(|timed| timed.when).collect();
    if chance.percent(67) {
        for _ in 0..chance.between(1, 9) {
            let when = near(&asked, executions, &mut chance);
            actions.extend(fault(when, &mut chance));
        }
    }
    for _ in 0..chance.below(4) {
        let when = near(&asked, executions, &mut chance);
        actions.push(change(when, &mut chance));
    }
    for number in 1..=executions {
        let name = Name(u8::try_from(number).unwrap_or(u8::MAX));
        actions.extend(controls(name, &mut control));
    }
    actions.sort_by_key(|timed| timed.when);
    Script {
        seed,
        wire: if chance.percent(70) {
            Wire::Noisy
        } else {
            Wire::Prompt
        },
        workers: if chance.percent(65) {
            Workers::Moody
        } else {
            Workers::Honest
        },
        ending: if chance.percent(80) {
            Ending::Answered
        } else {
            Ending::Silence
        },
        streams: chance.pick(&[1, 1, 2, 4], 1),
        actions,
    }
}

fn via(chance: &mut Chance) -> u8 {
    chance.pick(&[1, 2], 1)
}

/// What people do about one execution.
fn execution(name: Name, later: bool, chance: &mut Chance) -> Vec<Timed> {
    let drawn = chance.pick(PLANS, Plan::Chain);
    let plan = if later { Plan::Later } else { drawn };
    let by_hand = chance.percent(18);
    let submitted = chance.below(STORY_MS / 2);
    let keyed = chance.percent(75);
    let mut at_ms = submitted;
    let mut actions = vec![Timed {
        when: When::At(at_ms),
        action: Action::Submit(Submit {
            name,
            by: chance.pick(
                &[
                    Person::Ada,
                    Person::Ada,
                    Person::Ada,
                    Person::Bob,
                    Person::Bot,
                ],
                Person::Ada,
            ),
            plan,
            keyed,
            by_hand,
            mode: chance.pick(
                &[
                    Mode::Autonomous,
                    Mode::Autonomous,
                    Mode::Autonomous,
                    Mode::Autonomous,
                    Mode::Assist,
                    Mode::Observe,
                ],
                Mode::Autonomous,
            ),
            deadline_ms: chance.percent(15).then_some(chance.between(100, 25_000)),
            via: via(chance),
        }),
    }];
    let needs_draft = plan == Plan::Absent;
    if needs_draft {
        for _ in 0..chance.below(4) {
            at_ms += chance.between(30, 3000);
            actions.push(Timed {
                when: When::At(at_ms),
                action: Action::OfferDraft {
                    of: name,
                    plan: chance.pick(
                        &[
                            Plan::Chain,
                            Plan::Broken,
                            Plan::Change,
                            Plan::Absent,
                            Plan::Forbidden,
                        ],
                        Plan::Chain,
                    ),
                    via: via(chance),
                },
            });
        }
    }
    if by_hand && chance.percent(80) {
        at_ms += chance.between(50, 4000);
        actions.push(Timed {
            when: When::At(at_ms),
            action: start(name, chance),
        });
    }
    for _ in 0..chance.below(6) {
        at_ms += chance.between(1, 3500);
        let action = ask(name, chance);
        let when = if chance.percent(30) {
            moment(name, chance)
        } else {
            When::At(at_ms)
        };
        actions.push(Timed { when, action });
    }
    if chance.percent(12) {
        // When the vote is about to close, or just closed.
        let ms = EXPIRES_MS - 20 + chance.pick(&[0, 10, 19, 20, 21, 40], 20);
        actions.push(Timed {
            when: When::After {
                of: name,
                event: EventName::StepBlocked,
                ms,
            },
            action: Action::Vote(vote(name, chance)),
        });
    }
    if chance.percent(5) {
        actions.push(stands_still_before_sending(name, chance));
    }
    actions
}

/// What is asked of the runs of an execution.
fn controls(of: Name, chance: &mut Chance) -> Vec<Timed> {
    if !chance.percent(40) {
        return Vec::new();
    }
    let mut actions = Vec::new();
    for _ in 0..chance.between(1, 4) {
        let what = chance.pick(
            &[
                Control::Pause,
                Control::Pause,
                Control::Resume,
                Control::Resume,
                Control::Retry,
                Control::Retry,
                Control::Abort,
            ],
            Control::Pause,
        );
        let event = match what {
            Control::Resume => EventName::Paused,
            Control::Retry => EventName::ExecutionFailed,
            Control::Pause | Control::Abort => chance.pick(MOMENTS, EventName::StepStarted),
        };
        let when = match chance.below(10) {
            0..3 => When::At(chance.below(STORY_MS)),
            3..6 => moment(of, chance),
            _ => When::After {
                of,
                event,
                ms: chance.pick(&[0, 1, 15, 400, 3000], 1),
            },
        };
        let via = via(chance);
        actions.push(Timed {
            when,
            action: Action::Control { of, what, via },
        });
    }
    actions
}

/// Between the storing of a start and its request, for longer than its wake-up stays with him.
fn stands_still_before_sending(of: Name, chance: &mut Chance) -> Timed {
    Timed {
        when: When::After {
            of,
            event: EventName::StepStarted,
            ms: 0,
        },
        action: Action::Pause {
            who: Instance::of(Service::Executor, via(chance)),
            ms: chance.pick(&[18_000, 24_000, 33_000], 24_000),
        },
    }
}

/// What is worth waiting for: after most of these something else follows at once.
const MOMENTS: &[EventName] = &[
    EventName::IntentReceived,
    EventName::PlanDrafted,
    EventName::PlanDrafted,
    EventName::PlanCompiled,
    EventName::PlanCompiled,
    EventName::PlanVerified,
    EventName::PlanVerified,
    EventName::PlanRejected,
    EventName::PlanRejected,
    EventName::ExecutionStartRequested,
    EventName::ExecutionStarted,
    EventName::StepProposed,
    EventName::StepJudged,
    EventName::StepBlocked,
    EventName::ExecutionApproved,
    EventName::StepStarted,
    EventName::StepStarted,
    EventName::StepCompleted,
    EventName::StepFailed,
    EventName::CancelRequested,
    EventName::ExecutionStopping,
];

/// An instant at which something has just happened to an execution.
fn moment(of: Name, chance: &mut Chance) -> When {
    When::After {
        of,
        event: chance.pick(MOMENTS, EventName::StepStarted),
        ms: chance.pick(&[0, 0, 0, 1, 3, 15], 0),
    }
}

fn start(of: Name, chance: &mut Chance) -> Action {
    Action::Start {
        of,
        mode: chance.pick(
            &[
                None,
                None,
                Some(Mode::Autonomous),
                Some(Mode::Assist),
                Some(Mode::Observe),
            ],
            None,
        ),
        via: via(chance),
    }
}

fn vote(of: Name, chance: &mut Chance) -> Vote {
    Vote {
        of,
        by: chance.pick(
            &[
                Person::Grace,
                Person::Grace,
                Person::Grace,
                Person::Heidi,
                Person::Heidi,
                Person::Ada,
                Person::Bob,
                Person::Bot,
            ],
            Person::Grace,
        ),
        approves: chance.percent(88),
        thinks_ms: chance.pick(&[0, 0, 5, 200, 2500], 0),
        shows: chance.pick(
            &[
                Shown::Everything,
                Shown::Everything,
                Shown::Everything,
                Shown::Everything,
                Shown::Nothing,
                Shown::OtherPlan,
                Shown::OtherInputs,
                Shown::OtherBlock,
            ],
            Shown::Everything,
        ),
        via: via(chance),
    }
}

/// Something that someone asks of an execution.
fn ask(of: Name, chance: &mut Chance) -> Action {
    match chance.below(100) {
        0..48 => Action::Vote(vote(of, chance)),
        48..58 => Action::Cancel {
            of,
            by: chance.pick(&[Person::Ada, Person::Grace, Person::Root], Person::Ada),
            via: via(chance),
        },
        58..70 => Action::Repeat {
            of,
            other_body: chance.percent(30),
            via: via(chance),
        },
        70..80 => Action::Verify {
            of,
            via: via(chance),
        },
        80..88 => start(of, chance),
        88..94 => Action::AskPlan {
            of,
            via: via(chance),
        },
        _ => Action::OfferDraft {
            of,
            plan: chance.pick(&[Plan::Chain, Plan::Broken], Plan::Chain),
            via: via(chance),
        },
    }
}

fn process(chance: &mut Chance) -> Instance {
    let service = chance.pick(
        &[
            Service::Executor,
            Service::Executor,
            Service::Executor,
            Service::Executor,
            Service::Verifier,
            Service::Planner,
            Service::Intake,
        ],
        Service::Executor,
    );
    Instance::of(service, chance.pick(&[1, 2], 1))
}

/// An instant at which something is under way, mostly.
fn near(asked: &[When], executions: u64, chance: &mut Chance) -> When {
    let drawn = chance.below(100);
    if drawn < 20 {
        return When::At(chance.below(STORY_MS));
    }
    if drawn < 45 {
        let number = chance.between(1, executions);
        return moment(Name(u8::try_from(number).unwrap_or(u8::MAX)), chance);
    }
    let after = chance.pick(&[0, 1, 3, 10, 40, 150, 400, 1500, 4000], 0) + chance.below(10);
    later(chance.pick(asked, When::At(0)), after)
}

fn later(when: When, by_ms: u64) -> When {
    match when {
        When::At(ms) => When::At(ms + by_ms),
        When::After { of, event, ms } => When::After {
            of,
            event,
            ms: ms + by_ms,
        },
    }
}

/// What goes wrong.
fn fault(when: When, chance: &mut Chance) -> Vec<Timed> {
    let who = process(chance);
    let action = match chance.below(100) {
        0..34 => Action::Crash {
            who,
            at: chance.pick(Point::ALL, Point::Now),
        },
        34..46 => Action::Pause {
            who,
            // Below and above the time after which others take over.
            ms: chance.pick(&[300, 2000, 9000, 16_000, 24_000], 2000),
        },
        46..54 => Action::Restart { who },
        54..60 => Action::StepClock {
            who,
            ms: chance.pick(&[-3_600_000, -5_000, 700, 5_000, 61_000, 3_600_000], 5000),
        },
        60..65 => Action::Outage {
            ms: chance.pick(&[50, 400, 2500, 7000], 400),
        },
        65..68 => Action::Full {
            ms: chance.pick(&[400, 2500, 7000], 400),
        },
        68..76 => Action::LoseAnswers {
            who,
            count: u32::try_from(chance.between(1, 3)).unwrap_or(1),
        },
        76..84 => Action::LoseAcks {
            who,
            count: u32::try_from(chance.between(1, 3)).unwrap_or(1),
        },
        84..89 => Action::DeliverAgain {
            what: chance.pick(&[Again::Held, Again::Held, Again::Everything], Again::Held),
        },
        89..93 => {
            let lag = Action::Lag {
                events: u32::try_from(chance.between(1, 12)).unwrap_or(1),
            };
            let over = Timed {
                when: later(when, chance.between(50, 5000)),
                action: Action::Lag { events: 0 },
            };
            return vec![Timed { when, action: lag }, over];
        }
        93..97 => Action::Reconnect,
        _ => Action::Jump {
            ms: chance.pick(&[500, 5000, 20_000, 70_000, 3_700_000], 5000),
        },
    };
    vec![Timed { when, action }]
}

/// What operators change.
fn change(when: When, chance: &mut Chance) -> Timed {
    let via = via(chance);
    let action = match chance.below(10) {
        0..6 => Action::Activate {
            bundle: chance.pick(
                &[
                    Bundle::Base,
                    Bundle::Strict,
                    Bundle::Strict,
                    Bundle::Closed,
                    Bundle::Closed,
                    Bundle::Broken,
                ],
                Bundle::Base,
            ),
            via,
        },
        6..8 => Action::Install {
            skill: chance.pick(&[Skill::Shop2, Skill::Forged, Skill::Mail], Skill::Shop2),
            via,
        },
        _ => Action::Disable {
            skill: chance.pick(&[Skill::Mail, Skill::Mail, Skill::Shop], Skill::Mail),
            via,
        },
    };
    Timed { when, action }
}
