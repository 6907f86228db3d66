//! The events of skills and policies, derived from the state before them.

use contracts::{event::Event, record::Recorded, subject::AggregateId};
use domain::{
    policy::{self, Policy},
    skill::{self, Install, Skill},
};

use super::{
    derived::{Derived, Memory},
    execution::first,
    report::What,
};

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a skill's subjects hold no other events"
)]
pub(super) fn of_skill(state: &Skill, recorded: &Recorded, memory: &mut Memory<'_>) -> Derived {
    let aggregate = &recorded.subject.aggregate;
    let workspace = aggregate.workspace();
    match &recorded.event {
        Event::SkillInstallRequested(event) => {
            if *aggregate != AggregateId::skill(workspace.clone(), &event.skill_key) {
                return of_another_skill();
            }
            let install = Install {
                key: event.skill_key.clone(),
                version: event.version.clone(),
                artifact_digest: event.artifact_digest.clone(),
                manifest: event.manifest.clone(),
                by: event.by.clone(),
            };
            match skill::request_install(state, &install, event.requested_at) {
                Ok((events, _)) => Derived::first(What::Request, events),
                Err(rejection) => refused(rejection.code(), &rejection.to_string()),
            }
        }
        Event::SkillDisabled(event) => {
            if *aggregate != AggregateId::skill(workspace.clone(), &event.skill_key) {
                return of_another_skill();
            }
            let disabled = skill::disable(
                state,
                &event.skill_key,
                event.version.as_ref(),
                &event.by,
                event.reason.as_deref(),
                event.disabled_at,
            );
            match disabled {
                Ok(events) => Derived::first(What::Request, events),
                Err(rejection) => refused(rejection.code(), &rejection.to_string()),
            }
        }
        Event::SkillInstalled(event) => answered(state, recorded, event.catalogue, memory),
        Event::SkillRejected(event) => answered(state, recorded, event.catalogue, memory),
        _ => Derived::Taken,
    }
}

/// Signature, publisher and manifest, checked again at the recorded time against the trust that
/// was active then.
fn answered(
    state: &Skill,
    recorded: &Recorded,
    catalogue: u64,
    memory: &mut Memory<'_>,
) -> Derived {
    let workspace = recorded.subject.aggregate.workspace();
    memory.decided(Some(catalogue), recorded, |judge, catalogue| {
        first(judge.skill(workspace, state, catalogue, recorded.time()))
    })
}

fn of_another_skill() -> Derived {
    let why = "the payload is of another skill than the subject";
    Derived::Nothing(What::Request, why.to_owned())
}

fn refused(code: &str, why: &str) -> Derived {
    Derived::Nothing(What::Request, format!("it is refused with `{code}`: {why}"))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a policy's subjects hold no other events"
)]
pub(super) fn of_policy(state: &Policy, recorded: &Recorded, memory: &mut Memory<'_>) -> Derived {
    match &recorded.event {
        Event::PolicyActivationRequested(event) => {
            let (bundle, by) = (&event.bundle, &event.by);
            match policy::request_activation(state, bundle, by, event.requested_at) {
                Ok((events, _)) => Derived::first(What::Request, events),
                Err(error) => Derived::Nothing(What::Request, error.to_string()),
            }
        }
        Event::PolicyActivated(_) | Event::PolicyRefused(_) => {
            let answers = memory.judge.policy(state, recorded.time());
            match answers.into_iter().next() {
                Some(event) => Derived::Decision(event),
                None => Derived::nothing_decided(),
            }
        }
        _ => Derived::Taken,
    }
}
