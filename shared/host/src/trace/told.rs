//! The span of an event: nothing that the event does not say.

use std::borrow::Cow;

use contracts::{
    event::Event,
    events::executor::EffectOutcome,
    ids::{Pin, StepId},
    record::{Cause, Head, Recorded},
    subject::AggregateKind,
    time::Timestamp,
};

use super::span::{Context, Kind, Span, SpanId, Value};

/// What a span of an event hangs from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// The event of the same aggregate that is its cause.
    Cause,
    /// The span that its cause's `traceparent` names: the first event's, and for that one the
    /// request's.
    Trace,
    /// Nothing: it begins its trace.
    Root,
    /// A span of this process that ended at an instant.
    Span { id: SpanId, ended: Timestamp },
}

type Attributes = Vec<(&'static str, Value)>;

/// Of an event that has been stored after `before`; nothing where it is in no trace, or in one
/// that nobody wants to see.
pub fn span(
    recorded: &Recorded,
    before: Option<&Head>,
    cause: &Cause,
    parent: Parent,
) -> Option<Span> {
    let own = Context::parse(recorded.attributes.traceparent.as_deref()?)?;
    if !own.is_sampled {
        return None;
    }
    let named = || Some(Context::parse(cause.traceparent.as_deref()?)?.span);
    let ended = recorded.time();
    let began = before.map_or(ended, |head| head.time);
    let (parent, began) = match parent {
        Parent::Cause => (cause.id.map(SpanId::of_event).or_else(named), began),
        Parent::Trace => (named(), began),
        Parent::Root => (None, began),
        Parent::Span { id, ended } => (Some(id), began.max(ended)),
    };
    let (mut attributes, error) = said(&recorded.event);
    let aggregate = &recorded.subject.aggregate;
    let id = match aggregate.kind() {
        AggregateKind::Execution | AggregateKind::Incident => EXECUTION,
        AggregateKind::Skill => SKILL,
        AggregateKind::Policy | AggregateKind::Hold | AggregateKind::Schedule => AGGREGATE,
    };
    attributes.push((id, aggregate.id().into()));
    attributes.push((WORKSPACE, aggregate.workspace().as_str().into()));
    attributes.push(("control_plane.event.id", recorded.id().to_string().into()));
    attributes.push(("control_plane.event.version", recorded.version().into()));
    Some(Span {
        context: own,
        parent,
        name: Cow::Borrowed(recorded.event.name().as_str()),
        kind: Kind::Internal,
        began: began.min(ended),
        ended,
        attributes,
        error,
    })
}

pub const EXECUTION: &str = "control_plane.execution.id";
pub const WORKSPACE: &str = "control_plane.workspace";
pub const STEP: &str = "control_plane.step.id";
pub const ATTEMPT: &str = "control_plane.step.attempt";
pub const SKILL: &str = "control_plane.skill";
const AGGREGATE: &str = "control_plane.aggregate.id";
const PLAN: &str = "control_plane.plan.hash";
const VERDICT: &str = "control_plane.verdict";
const TIER: &str = "control_plane.risk_tier";
pub const CODE: &str = "error.type";

/// A skill at one content, as traces name it.
pub fn pinned(pin: &Pin) -> String {
    format!("{}@{}", pin.key, pin.version)
}

/// What an event says beside what all do, and why it means that something went wrong. What people
/// wrote, and what steps take and bring, is not for a collector.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the others say nothing more than their name"
)]
fn said(event: &Event) -> (Attributes, Option<String>) {
    let step = |step: &StepId| (STEP, Value::from(step.as_str()));
    match event {
        Event::PlanCompiled(event) => {
            let hash = event.deterministic_hash.to_string();
            let steps = ("control_plane.plan.steps", event.step_count.into());
            (vec![(PLAN, hash.into()), steps], None)
        }
        Event::PlanVerified(event) => (
            vec![
                (VERDICT, event.verdict.as_str().into()),
                (TIER, event.risk_tier.as_str().into()),
            ],
            None,
        ),
        Event::PlanRejected(event) => {
            let findings = event.findings.first();
            let code = findings.map_or("plan.rejected", |finding| finding.code.as_str());
            (vec![(CODE, code.into())], Some(code.to_owned()))
        }
        Event::StepProposed(event) => (vec![step(&event.step_id)], None),
        Event::StepJudged(event) => (
            vec![
                step(&event.step_id),
                (VERDICT, event.verdict.verdict.as_str().into()),
                (TIER, event.verdict.tier.as_str().into()),
            ],
            None,
        ),
        Event::StepBlocked(event) => (vec![step(&event.step_id)], None),
        Event::ExecutionApproved(event) => (vec![step(&event.step_id)], None),
        Event::ExecutionRejected(event) => (vec![step(&event.step_id)], None),
        Event::StepStarted(event) => (
            vec![
                step(&event.step_id),
                (ATTEMPT, event.attempt.into()),
                (SKILL, pinned(&event.pin).into()),
                ("control_plane.step.takeover", event.takeover.into()),
            ],
            None,
        ),
        Event::StepCompleted(event) => (
            vec![step(&event.step_id), (ATTEMPT, event.attempt.into())],
            None,
        ),
        Event::StepAccepted(event) => (
            vec![step(&event.step_id), (ATTEMPT, event.attempt.into())],
            None,
        ),
        Event::StepReported(event) => (
            vec![step(&event.step_id), (ATTEMPT, event.attempt.into())],
            None,
        ),
        Event::StepFailed(event) => {
            let outcome = match event.outcome {
                EffectOutcome::NotDone => "not_done",
                EffectOutcome::Unknown => "unknown",
            };
            (
                vec![
                    step(&event.step_id),
                    (ATTEMPT, event.attempt.into()),
                    (CODE, event.error_code.as_str().into()),
                    ("control_plane.step.outcome", outcome.into()),
                ],
                Some(event.error_code.clone()),
            )
        }
        Event::ExecutionStopping(event) => {
            let code = event.code.as_str();
            (vec![(CODE, code.into())], Some(code.to_owned()))
        }
        Event::ExecutionFailed(event) => {
            let code = event.error_code.as_str();
            (vec![(CODE, code.into())], Some(code.to_owned()))
        }
        Event::SkillRejected(_) | Event::PolicyRefused(_) => {
            let code = event.name().as_str();
            (vec![(CODE, code.into())], Some(code.to_owned()))
        }
        _ => (Vec::new(), None),
    }
}
