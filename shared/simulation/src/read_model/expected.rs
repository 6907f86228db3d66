//! What the rows must say, from the events alone.
//!
//! * `catalogue`: skills and policies

use std::collections::BTreeMap;

use contracts::{
    event::{Event, EventName},
    events::planner::RejectionCause,
    plan::{Mode, RiskTier, Start, Status, Verdict},
    position::Position,
    record::Recorded,
    subject::{AggregateId, AggregateKind, Subject},
};
use domain::{
    execution::{Block, Execution, Known, Stage, StepState},
    record,
};
use journal::{history, stored::Entry};

use super::{
    Difference,
    rows::{
        APPROVALS, Cell, EVENTS, EXECUTIONS, Expected, POLICIES, POSITIONS, Rows, SKILLS, integer,
        optional, text,
    },
};

mod catalogue;

/// What is stored of one aggregate, in the order in which it was stored.
#[derive(Default)]
struct Aggregate<'a> {
    events: Vec<&'a Recorded>,
    /// Whether something stands among them that cannot be read.
    unreadable: bool,
}

impl Aggregate<'_> {
    fn is_sound(&self) -> bool {
        !self.unreadable && history::check(self.events.iter().copied()).is_ok()
    }
}

/// All rows, after these entries and no others.
pub fn of(entries: &[&Entry], builtins: bool) -> Result<Vec<Rows>, Difference> {
    let mut events = Rows::none(&EVENTS);
    let mut reached: BTreeMap<String, u64> = BTreeMap::new();
    let standings = standings(entries);
    for entry in entries {
        let (stream, sequence) = (entry.position.stream.name(), entry.position.sequence);
        let standing = standings.get(&entry.position);
        let row = event(entry, standing)?;
        events.insert([text(&stream), integer(sequence)], row);
        let reached = reached.entry(stream).or_default();
        *reached = sequence.max(*reached);
    }
    let mut positions = Rows::none(&POSITIONS);
    for (stream, sequence) in reached {
        positions.insert([text(&stream)], vec![integer(sequence).into()]);
    }
    let (mut executions, mut approvals) = (Rows::none(&EXECUTIONS), Rows::none(&APPROVALS));
    let (mut skills, mut policies) = (Rows::none(&SKILLS), Rows::none(&POLICIES));
    if builtins {
        catalogue::builtins(&mut skills);
    }
    for (id, aggregate) in aggregates(entries) {
        match id.kind() {
            AggregateKind::Execution => {
                execution(&aggregate, &mut executions, &mut approvals);
            }
            AggregateKind::Skill | AggregateKind::Policy if !aggregate.is_sound() => {
                return Err(Difference::Unsound(id));
            }
            AggregateKind::Skill => catalogue::skill(&id, &aggregate.events, &mut skills),
            AggregateKind::Policy => catalogue::policy(&id, &aggregate.events, &mut policies)?,
            AggregateKind::Incident | AggregateKind::Hold | AggregateKind::Schedule => {}
        }
    }
    Ok(vec![
        positions, events, executions, approvals, skills, policies,
    ])
}

/// Whether there is nothing in the log that an incident could be about.
pub fn is_sound(entries: &[Entry]) -> bool {
    let entries: Vec<&Entry> = entries.iter().collect();
    let legal = |aggregate: &Aggregate<'_>| {
        let fold = Execution::fold(aggregate.events.iter().copied());
        !matches!(fold, Execution::Corrupt(_))
    };
    entries.iter().all(|entry| entry.recorded.is_ok())
        && aggregates(&entries).iter().all(|(id, aggregate)| {
            aggregate.is_sound() && (id.kind() != AggregateKind::Execution || legal(aggregate))
        })
}

fn aggregates<'a>(entries: &[&'a Entry]) -> BTreeMap<AggregateId, Aggregate<'a>> {
    let mut aggregates: BTreeMap<AggregateId, Aggregate<'a>> = BTreeMap::new();
    for entry in entries {
        match &entry.recorded {
            Ok(recorded) => {
                let aggregate = recorded.subject.aggregate.clone();
                aggregates
                    .entry(aggregate)
                    .or_default()
                    .events
                    .push(recorded);
            }
            Err(_) => {
                if let Ok(subject) = entry.raw.subject.parse::<Subject>() {
                    aggregates.entry(subject.aggregate).or_default().unreadable = true;
                }
            }
        }
    }
    aggregates
}

/// How its execution stands after each event, and who had asked for it.
fn standings(entries: &[&Entry]) -> BTreeMap<Position, [Expected; 2]> {
    let sound = aggregates(entries);
    let sound = |id: &AggregateId| sound.get(id).is_some_and(Aggregate::is_sound);
    let mut folds: BTreeMap<AggregateId, Execution> = BTreeMap::new();
    let mut standings = BTreeMap::new();
    for entry in entries {
        let Ok(recorded) = &entry.recorded else {
            continue;
        };
        let id = &recorded.subject.aggregate;
        if id.kind() != AggregateKind::Execution {
            continue;
        }
        let before = folds.remove(id).unwrap_or(Execution::NeverReceived);
        let after = before.evolve(recorded);
        let row = match &after {
            Execution::Known(known) if sound(id) => [
                Expected::Is(text(known.status().as_str())),
                if is_of_approvals(&recorded.event) {
                    Expected::Says(serde_json::json!(known.intent.actor))
                } else {
                    Expected::Is(Cell::Null)
                },
            ],
            Execution::Known(_) | Execution::NeverReceived | Execution::Corrupt(_) => {
                [Expected::Any, Expected::Any]
            }
        };
        standings.insert(entry.position, row);
        folds.insert(id.clone(), after);
    }
    standings
}

/// Whether it opens a block, is a vote on one, or ends the waiting for votes.
fn is_of_approvals(event: &Event) -> bool {
    let events = [
        EventName::StepBlocked,
        EventName::ExecutionApproved,
        EventName::ExecutionRejected,
        EventName::CancelRequested,
        EventName::ExecutionStopping,
        EventName::ExecutionFailed,
    ];
    events.contains(&event.name())
}

fn event(entry: &Entry, standing: Option<&[Expected; 2]>) -> Result<Vec<Expected>, Difference> {
    let subject = entry.raw.subject.parse::<Subject>().ok();
    let subject = subject.as_ref();
    let recorded = entry.recorded.as_ref().ok();
    let error = entry.recorded.as_ref().err();
    let nothing = [Cell::Null, Cell::Null].map(Expected::Is);
    let standing = standing.unwrap_or(&nothing).clone();
    let row = [
        text(&entry.raw.subject),
        optional(subject, |it| text(it.aggregate.workspace())),
        optional(subject, |it| text(it.aggregate.kind().as_str())),
        optional(subject, |it| text(it.aggregate.id())),
        optional(subject, |it| integer(it.version)),
        optional(subject, |it| text(it.event.as_str())),
        optional(recorded, |it| integer(it.time().as_millis())),
        optional(recorded, |it| Cell::Blob(it.hash.bytes().to_vec())),
        text(&serde_json::to_string(&entry.raw.headers)?),
        Cell::Blob(entry.raw.payload.to_vec()),
        optional(error, |it| text(&host::engine::chain(it))),
    ];
    Ok(row
        .map(Expected::from)
        .into_iter()
        .chain(standing)
        .collect())
}

fn execution(aggregate: &Aggregate<'_>, executions: &mut Rows, approvals: &mut Rows) {
    let Some(Event::IntentReceived(intent)) = aggregate.events.first().map(|it| &it.event) else {
        return;
    };
    let state = Execution::fold(aggregate.events.iter().copied());
    let id = || text(&intent.execution_id);
    let workspace = || {
        optional(aggregate.events.first(), |it| {
            text(it.subject.aggregate.workspace())
        })
    };
    let known = match &state {
        Execution::Known(known) if aggregate.is_sound() => known,
        Execution::NeverReceived | Execution::Known(_) | Execution::Corrupt(_) => {
            executions.insert([workspace(), id()], corrupt());
            return;
        }
    };
    let open = open_blocks(known);
    let last = aggregate.events.last();
    let told = record::record(known);
    executions.insert(
        [workspace(), id()],
        [
            integer(aggregate.events.len()),
            text(known.status().as_str()),
            optional(told.verdict.map(Verdict::as_str), text),
            optional(told.risk_tier.map(RiskTier::as_str), text),
            optional(told.requires_approval, integer),
            integer(open.len()),
            integer(waits(known, !open.is_empty())),
            text(&intent.actor.id),
            optional(intent.channel_key.as_ref(), text),
            text(&intent.text),
            text(&intent.text.to_lowercase()),
            optional(known.compiled(), |it| text(&it.deterministic_hash)),
            optional(error_code(known, &aggregate.events), text),
            integer(intent.received_at.as_millis()),
            optional(last, |it| integer(it.time().as_millis())),
        ]
        .map(Expected::from)
        .into(),
    );
    for (step, row) in open {
        approvals.insert([workspace(), id(), text(&step)], row);
    }
}

/// A bit each: draft, start, approval, resume, retry, completion, time.
fn waits(known: &Known, votes: bool) -> u8 {
    if known.stop.is_some() {
        return 0;
    }
    match &known.stage {
        Stage::AwaitingDraft { .. } => 1,
        Stage::Verified(verified) => {
            let by_hand = known.intent.start == Start::Manual && known.intent.mode != Mode::Observe;
            let blocked = verified.judged.verdict.verdict == Verdict::Blocked;
            u8::from(by_hand && verified.start.is_none() && !blocked) << 1
        }
        Stage::Running(run) => {
            let of_steps = run.steps.iter().map(|(id, step)| match &step.state {
                StepState::RetryWait { .. } => 1 << 4,
                StepState::Accepted { .. } => 1 << 5,
                StepState::Started(_) => {
                    let planned = run.judged.compiled.plan.step(id);
                    let passes = planned.is_some_and(|it| it.uses.key.as_str() == "core.wait");
                    u8::from(passes) << 6
                }
                StepState::Pending
                | StepState::Proposed { .. }
                | StepState::Completed { .. }
                | StepState::Failed { .. }
                | StepState::Skipped => 0,
            });
            let of_run = u8::from(votes) << 2 | u8::from(run.paused) << 3;
            of_steps.fold(of_run, |all, bit| all | bit)
        }
        Stage::Received
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. }
        | Stage::Rejected { .. }
        | Stage::Completed { .. }
        | Stage::Failed { .. } => 0,
    }
}

/// The columns that do not depend on how the execution stood before its history broke.
fn corrupt() -> Vec<Expected> {
    let mut row = vec![Expected::Any; EXECUTIONS.columns.len() - 2];
    let named = EXECUTIONS.columns.iter().skip(2);
    for (column, expected) in named.zip(&mut row) {
        match *column {
            "status" => *expected = text(Status::Corrupt.as_str()).into(),
            "error_code" => *expected = text("AGGREGATE_CORRUPT").into(),
            "waiting" | "waits" => *expected = integer(0).into(),
            _ => {}
        }
    }
    row
}

/// The last end, if nothing has followed it.
fn error_code(known: &Known, events: &[&Recorded]) -> Option<&'static str> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only these two end an execution without success"
    )]
    let code = |event: &Event| match event {
        Event::ExecutionFailed(failed) => Some(failed.error_code.as_str()),
        Event::PlanRejected(rejected) => Some(match rejected.cause {
            RejectionCause::Compile => "compile",
            RejectionCause::DraftTimeout => "draft_timeout",
            RejectionCause::Policy => "policy",
        }),
        _ => None,
    };
    let last = events.last().filter(|_| known.is_ended())?;
    code(&last.event)
}

fn votes(block: &Block) -> serde_json::Value {
    let votes = block.votes.iter();
    votes
        .map(|(by, at)| serde_json::json!({ "by": by, "approvedAt": at }))
        .collect()
}

/// A vote counts for a block that is not passed, of a step that waits, while nothing stops.
fn open_blocks(known: &Known) -> Vec<(String, Vec<Expected>)> {
    let Stage::Running(run) = &known.stage else {
        return Vec::new();
    };
    if known.stop.is_some() {
        return Vec::new();
    }
    let open = run.steps.iter().filter_map(|(step, state)| {
        let block = state.open_block()?;
        let opened = &block.opened;
        let rule = &opened.approval;
        let tier = run.verdict(step).map_or(block.tier, |verdict| verdict.tier);
        let row = vec![
            text(&opened.block_id).into(),
            text(tier.as_str()).into(),
            text(&opened.plan_hash).into(),
            text(&opened.inputs_digest).into(),
            integer(rule.plan_hash_required).into(),
            integer(rule.quorum).into(),
            Expected::Says(votes(block)),
            Expected::Says(serde_json::json!(rule.eligible)),
            text(&opened.reason).into(),
            integer(opened.blocked_at.as_millis()).into(),
            integer(opened.expires_at.as_millis()).into(),
        ];
        Some((step.to_string(), row))
    });
    open.collect()
}
