//! Skills and policies.

use std::collections::BTreeMap;

use contracts::{
    canonical::Digest,
    event::Event,
    events::{
        intake::{PolicyActivationRequested, SkillInstallRequested},
        verifier::{PolicyRefused, SkillInstalled, SkillRejected},
    },
    ids::WorkspaceId,
    record::Recorded,
    subject::AggregateId,
};
use domain::catalogue::Catalogue;

use crate::read_model::{
    Difference,
    rows::{Expected, Rows, integer, optional, text},
};

pub fn builtins(skills: &mut Rows) {
    let global = WorkspaceId::global();
    let catalogue = Catalogue::empty();
    for skill in catalogue.skills(&global) {
        let pin = &skill.pin;
        skills.insert(
            [text(&global), text(&pin.key), text(&pin.version)],
            [
                integer(0),
                text("installed"),
                text(&skill.publisher),
                text(&skill.provenance),
                text(&pin.digest),
                super::Cell::Null,
            ]
            .map(Expected::from)
            .into(),
        );
    }
}

/// What was asked for, and what became of it.
struct Request<'a> {
    event: &'a SkillInstallRequested,
    answer: Option<Answer<'a>>,
    disabled: bool,
}

#[derive(Clone, Copy)]
enum Answer<'a> {
    Installed(&'a SkillInstalled),
    Rejected(&'a SkillRejected),
}

impl Request<'_> {
    fn is_standing(&self) -> bool {
        matches!(self.answer, Some(Answer::Installed(_)))
    }
}

/// Of each version, the installation that was made last; where none was, the last request.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a skill's subjects hold only these events"
)]
pub fn skill(id: &AggregateId, events: &[&Recorded], skills: &mut Rows) {
    let mut asked: Vec<Request<'_>> = Vec::new();
    // In the order in which they were answered.
    let mut standing: BTreeMap<&str, usize> = BTreeMap::new();
    for recorded in events {
        match &recorded.event {
            Event::SkillInstallRequested(event) => asked.push(Request {
                event,
                answer: None,
                disabled: false,
            }),
            Event::SkillInstalled(event) => {
                let of = asked
                    .iter_mut()
                    .enumerate()
                    .find(|(_, it)| it.event.installation_id == event.installation_id);
                if let Some((index, request)) = of {
                    request.answer = Some(Answer::Installed(event));
                    standing.insert(event.version.as_str(), index);
                }
            }
            Event::SkillRejected(event) => {
                let of = asked
                    .iter_mut()
                    .find(|it| it.event.installation_id == event.installation_id);
                if let Some(request) = of {
                    request.answer = Some(Answer::Rejected(event));
                }
            }
            Event::SkillDisabled(event) => {
                let named = asked.iter_mut().filter(|request| {
                    let version = event.version.as_ref();
                    version.is_none_or(|version| *version == request.event.version)
                });
                for request in named {
                    // A request that was rejected before is not touched by what comes later.
                    request.disabled |= request.answer.is_none() || request.is_standing();
                }
            }
            _ => {}
        }
    }
    let mut told: BTreeMap<&str, &Request<'_>> = BTreeMap::new();
    for request in &asked {
        told.insert(request.event.version.as_str(), request);
    }
    for (version, index) in standing {
        if let Some(request) = asked.get(index) {
            told.insert(version, request);
        }
    }
    for (version, request) in told {
        let manifest = &request.event.manifest;
        let (status, digest, at) = match request.answer {
            None => ("requested", None, None),
            Some(Answer::Rejected(it)) => ("rejected", it.manifest_digest, None),
            Some(Answer::Installed(it)) if request.disabled => {
                ("disabled", it.manifest_digest, Some(it.installed_at))
            }
            Some(Answer::Installed(it)) => ("installed", it.manifest_digest, Some(it.installed_at)),
        };
        skills.insert(
            [
                text(id.workspace()),
                text(&request.event.skill_key),
                text(version),
            ],
            [
                integer(events.len()),
                text(status),
                text(&manifest.publisher.id),
                text(&manifest.publisher.provenance),
                optional(digest.as_ref(), text),
                optional(at, |at| integer(at.as_millis())),
            ]
            .map(Expected::from)
            .into(),
        );
    }
}

enum Verdict<'a> {
    Activated,
    Refused(&'a PolicyRefused),
}

/// Of each bundle, the last request and the answer to it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a policy's subjects hold only these events"
)]
pub fn policy(
    id: &AggregateId,
    events: &[&Recorded],
    policies: &mut Rows,
) -> Result<(), Difference> {
    type Asked<'a> = (&'a PolicyActivationRequested, Option<Verdict<'a>>);
    let mut asked: BTreeMap<Digest, Asked<'_>> = BTreeMap::new();
    let mut active = None;
    for recorded in events {
        let (hash, verdict) = match &recorded.event {
            Event::PolicyActivationRequested(event) => {
                asked.insert(event.hash, (event, None));
                continue;
            }
            Event::PolicyActivated(event) => {
                active = Some(event.hash);
                (event.hash, Verdict::Activated)
            }
            Event::PolicyRefused(event) => (event.hash, Verdict::Refused(event)),
            _ => continue,
        };
        if let Some((_, answer)) = asked.get_mut(&hash) {
            *answer = Some(verdict);
        }
    }
    for (hash, (request, verdict)) in asked {
        let none = serde_json::json!([]);
        let (status, findings) = match verdict {
            _ if active == Some(hash) => ("active", none),
            None => ("requested", none),
            Some(Verdict::Activated) => ("replaced", none),
            Some(Verdict::Refused(it)) => ("refused", serde_json::to_value(&it.findings)?),
        };
        policies.insert(
            [text(id.workspace()), text(&hash)],
            vec![
                integer(events.len()).into(),
                text(status).into(),
                Expected::Says(serde_json::to_value(&request.bundle)?),
                Expected::Says(findings),
                integer(request.requested_at.as_millis()).into(),
            ],
        );
    }
    Ok(())
}
