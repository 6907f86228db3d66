//! The policy aggregate of a workspace: which bundles were asked for, and which one is active.

use std::collections::BTreeMap;

use contracts::{
    bundle::{Bundle, BundleFinding},
    canonical::{Digest, NotCanonical},
    event::Event,
    events::{
        RULES,
        intake::PolicyActivationRequested,
        verifier::{PolicyActivated, PolicyRefused},
    },
    facts::Actor,
    record::{Head, Recorded},
    time::Timestamp,
};

/// The bundles of one workspace, as the events tell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    pub head: Option<Head>,
    pub active: Option<Digest>,
    /// The last request for each bundle, and the answer to it.
    pub requests: BTreeMap<Digest, Request>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Of the request.
    pub version: u64,
    pub event: PolicyActivationRequested,
    pub answer: Option<Answer>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Activated(PolicyActivated),
    Refused(PolicyRefused),
}

impl Policy {
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Self {
        events.into_iter().fold(Self::default(), Self::evolve)
    }

    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a policy's subjects hold only these events; the broker refuses others"
    )]
    pub fn evolve(mut self, recorded: &Recorded) -> Self {
        match &recorded.event {
            Event::PolicyActivationRequested(event) => {
                self.requests.insert(
                    event.hash,
                    Request {
                        version: recorded.version(),
                        event: event.clone(),
                        answer: None,
                    },
                );
            }
            Event::PolicyActivated(event) => {
                self.active = Some(event.hash);
                if let Some(request) = self.requests.get_mut(&event.hash) {
                    request.answer = Some(Answer::Activated(event.clone()));
                }
            }
            Event::PolicyRefused(event) => {
                if let Some(request) = self.requests.get_mut(&event.hash) {
                    request.answer = Some(Answer::Refused(event.clone()));
                }
            }
            _ => {}
        }
        self.head = Some(recorded.head());
        self
    }

    /// The requests that the verifier has not answered, oldest first.
    pub fn unanswered(&self) -> Vec<&Request> {
        let mut waiting: Vec<&Request> = self
            .requests
            .values()
            .filter(|request| request.answer.is_none())
            .collect();
        waiting.sort_by_key(|request| request.version);
        waiting
    }
}

/// Asks for a bundle. Nothing to append where it is active, or being looked at.
pub fn request_activation(
    policy: &Policy,
    bundle: &Bundle,
    by: &Actor,
    now: Timestamp,
) -> Result<(Vec<Event>, Digest), NotCanonical> {
    let hash = bundle.hash()?;
    // The last word counts: what was asked for before another request is asked for again.
    let waiting = policy.unanswered();
    let stands = match waiting.last() {
        Some(last) => last.event.hash == hash,
        None => policy.active == Some(hash),
    };
    if stands {
        return Ok((Vec::new(), hash));
    }
    let event = PolicyActivationRequested {
        hash,
        bundle: bundle.clone(),
        by: by.clone(),
        requested_at: now,
        rules: RULES,
    };
    Ok((vec![event.into()], hash))
}

/// The verifier's answer to a request: what it found, and whether the bundle can be used.
pub fn answer(
    request: &PolicyActivationRequested,
    findings: Vec<BundleFinding>,
    engine_version: &str,
    now: Timestamp,
) -> Event {
    if findings.is_empty() {
        PolicyActivated {
            hash: request.hash,
            findings,
            engine_version: engine_version.to_owned(),
            activated_at: now,
            rules: RULES,
        }
        .into()
    } else {
        PolicyRefused {
            hash: request.hash,
            findings,
            engine_version: engine_version.to_owned(),
            refused_at: now,
            rules: RULES,
        }
        .into()
    }
}
