//! What happened, in words.

use contracts::{
    event::Event,
    events::{
        executor::EffectOutcome,
        intake::ReportedOutcome,
        planner::{PlanSource, RejectionCause},
    },
    facts::Actor,
    record::Recorded,
};

use crate::script::{Action, Again, Instance, Name, Point};

/// `   1.250  something happened`
pub fn line(at_ms: u64, said: &str) -> String {
    format!("{:>5}.{:03}  {said}", at_ms / 1000, at_ms % 1000)
}

/// What happens to the world.
pub fn action(action: &Action) -> String {
    let seconds = |ms: u64| format!("{}.{:03} s", ms / 1000, ms % 1000);
    match action {
        Action::Crash { who, at } => {
            if *at == Point::Now {
                return format!("{who} is to be killed now");
            }
            format!("{who} is to be killed {}", place(*at))
        }
        Action::Pause { who, ms } => format!("{who} stands still for {}", seconds(*ms)),
        Action::Restart { who } => format!("{who} is told to stop, and started again"),
        Action::StepClock { who, ms } => {
            let way = if *ms < 0 { "back" } else { "forward" };
            format!(
                "the clock of {who} is set {way} by {}",
                seconds(ms.unsigned_abs())
            )
        }
        Action::Outage { ms } => format!("the broker has no leader for {}", seconds(*ms)),
        Action::Full { ms } => format!("the broker has no room for {}", seconds(*ms)),
        Action::LoseAnswers { who, count } => {
            format!("the answers to the next {count} appends of {who} will be lost")
        }
        Action::LoseAcks { who, count } => {
            format!("the next {count} acknowledgements of {who} will be lost")
        }
        Action::DeliverAgain { what: Again::Held } => {
            "whatever is held is delivered once more, to anyone".to_owned()
        }
        Action::DeliverAgain {
            what: Again::Everything,
        } => "the broker forgets what was acknowledged, and delivers everything again".to_owned(),
        Action::Lag { events: 0 } => "replicas have caught up".to_owned(),
        Action::Lag { events } => format!("replicas lag behind by {events} events"),
        Action::Reconnect => "every connection is lost, and found again".to_owned(),
        Action::Jump { ms } => format!("everything stands still for {}", seconds(*ms)),
        Action::Submit(_)
        | Action::Repeat { .. }
        | Action::OfferDraft { .. }
        | Action::AskPlan { .. }
        | Action::Vote(_)
        | Action::Cancel { .. }
        | Action::Start { .. }
        | Action::Verify { .. }
        | Action::Control { .. }
        | Action::Activate { .. }
        | Action::Install { .. }
        | Action::Disable { .. } => action.to_string(),
    }
}

fn place(at: Point) -> String {
    at.as_str().replace('-', " its next ")
}

pub fn death(who: Instance, at: Point) -> String {
    if at == Point::Now {
        return format!("{who} dies");
    }
    format!("{who} dies {}", place(at))
}

/// What an event says, about the execution that the story calls so.
pub fn event(name: Option<Name>, recorded: &Recorded) -> String {
    let aggregate = &recorded.subject.aggregate;
    let about = name.map_or_else(
        || format!("{} {}", aggregate.kind().as_str(), aggregate.id()),
        |name| name.to_string(),
    );
    format!("{about} v{}: {}", recorded.version(), said(&recorded.event))
}

fn who(actor: &Actor) -> String {
    match &actor.via {
        Some(via) => format!("{} (through {via})", actor.id),
        None => actor.id.to_string(),
    }
}

fn said(event: &Event) -> String {
    match event {
        Event::IntentReceived(e) => format!("{} asks: {}", who(&e.actor), e.text),
        Event::DraftRequested(e) => format!("an outside planner is asked, draft {}", e.attempt),
        Event::PlanDrafted(e) => format!("{} offers a draft", who(&e.by)),
        Event::PlanCompiled(e) => {
            let source = match &e.source {
                PlanSource::Intent => "the intent's draft",
                PlanSource::Playbook { .. } => "a playbook",
                PlanSource::Draft { .. } => "the offered draft",
            };
            format!("a plan of {} steps is compiled from {source}", e.step_count)
        }
        Event::PlanVerificationRequested(e) => {
            format!("{} wants the plan judged again", who(&e.by))
        }
        Event::PlanVerified(e) => format!(
            "the plan is judged: {:?}, risk {:?}",
            e.verdict, e.risk_tier
        ),
        Event::PlanRejected(e) => {
            let cause = match e.cause {
                RejectionCause::Compile => "it does not compile",
                RejectionCause::DraftTimeout => "no draft came",
                RejectionCause::Policy => "policy blocks it",
            };
            let end = if e.is_final { "for good" } else { "for now" };
            format!("the plan is rejected {end}: {cause}")
        }
        Event::ExecutionStartRequested(e) => format!("{} starts it by hand", who(&e.by)),
        Event::ExecutionStarted(e) => format!("run {} begins", e.run_id.number),
        Event::StepProposed(e) => format!("`{}` is to be judged again: {:?}", e.step_id, e.reason),
        Event::StepJudged(e) => format!("`{}` is judged: {:?}", e.step_id, e.verdict.verdict),
        Event::StepBlocked(e) => format!(
            "`{}` waits for {} to approve it",
            e.step_id,
            if e.approval.quorum == 1 {
                "someone".to_owned()
            } else {
                format!("{} people", e.approval.quorum)
            }
        ),
        Event::ExecutionApproved(e) => format!("{} approves `{}`", who(&e.by), e.step_id),
        Event::ExecutionRejected(e) => format!("{} rejects `{}`", who(&e.by), e.step_id),
        Event::StepStarted(e) if e.takeover => {
            format!("`{}` is taken over, attempt {}", e.step_id, e.attempt)
        }
        Event::StepStarted(e) => format!("`{}` starts, attempt {}", e.step_id, e.attempt),
        Event::StepAccepted(e) => format!("`{}` will be completed later", e.step_id),
        Event::StepReported(e) => match e.outcome {
            ReportedOutcome::Completed => format!("`{}` is reported as done", e.step_id),
            ReportedOutcome::Failed => format!("`{}` is reported as failed", e.step_id),
        },
        Event::StepCompleted(e) => format!("`{}` is done, attempt {}", e.step_id, e.attempt),
        Event::StepFailed(e) => {
            let effect = match e.outcome {
                EffectOutcome::NotDone => "it was not done",
                EffectOutcome::Unknown => "nobody knows whether it was done",
            };
            let next = if e.next_attempt_at.is_some() {
                "it is tried again"
            } else {
                "it is not tried again"
            };
            format!(
                "`{}` fails, attempt {}, with {}: {effect}, {next}",
                e.step_id, e.attempt, e.error_code
            )
        }
        Event::ExecutionStopping(e) => format!("it stops: {}", e.code.as_str()),
        Event::StepSkipped(e) => format!("`{}` is left out", e.step_id),
        Event::StepCompensated(e) => format!("`{}` is undone", e.step_id),
        Event::CancelRequested(e) => format!("{} cancels it", who(&e.by)),
        Event::Paused(e) => format!("{} pauses it", who(&e.by)),
        Event::Resumed(e) => format!("{} lets it go on", who(&e.by)),
        Event::RetryRequested(e) => format!("{} wants it tried again", who(&e.by)),
        Event::ExecutionCompleted(_) => "it is completed".to_owned(),
        Event::ExecutionFailed(e) => format!("it has failed: {}", e.error_code.as_str()),
        Event::SkillInstallRequested(e) => {
            format!("{} wants version {} installed", who(&e.by), e.version)
        }
        Event::SkillInstalled(e) => format!("version {} is installed", e.version),
        Event::SkillRejected(e) => format!("it is refused: {}", e.reason),
        Event::SkillDisabled(e) => format!("{} disables it", who(&e.by)),
        Event::PolicyActivationRequested(e) => format!("{} wants another policy", who(&e.by)),
        Event::PolicyActivated(_) => "the policy is active".to_owned(),
        Event::PolicyRefused(_) => "the policy is refused".to_owned(),
        Event::HoldPlaced(e) => format!("{} holds {}", who(&e.by), e.scope),
        Event::HoldLifted(e) => format!("{} lifts the hold on {}", who(&e.by), e.scope),
        Event::IncidentRaised(e) => format!("{} reports {}: {}", e.service, e.code, e.cause),
        Event::IncidentResolved(e) => format!("{} has resolved {}", who(&e.by), e.code),
    }
}
