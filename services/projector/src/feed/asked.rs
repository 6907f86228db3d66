//! What a reader asks for, and where it goes on: parameters, and `Last-Event-ID`.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    extract::Query,
    http::{HeaderMap, Uri},
};
use contracts::{
    event::{Event, EventName},
    facts::Actor,
    ids::ExecutionId,
    plan::{Finding, Status},
    position::Positions,
    problem::{Code, Problem},
    record::Recorded,
    registry::{Feed, Grant, Place},
    subject::{AggregateKind, ROOT},
};
use host::{
    http::{
        input::{DUPLICATE_MEMBER, INVALID_VALUE, UNKNOWN_MEMBER, finding, invalid},
        single,
    },
    principals::Principal,
};
use serde_json::Value;

use super::workspace::Filter;
use crate::database::{read::events::Wanted, rows::Standing};

const LAST_EVENT_ID: &str = "Last-Event-ID";

/// How long a parameter may be: the names of all events, each of them.
const CHARS_MAX: usize = 4096;

/// The parameters of a feed as they were sent.
pub struct Asked {
    given: BTreeMap<String, Vec<String>>,
    findings: Vec<Finding>,
}

impl Asked {
    /// Those of the query string, which must be the feed's.
    pub fn of(feed: &Feed, uri: &Uri) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Problem::new(Code::InvalidInput, "the query string cannot be read"))?;
        let mut asked = Self {
            given: BTreeMap::new(),
            findings: Vec::new(),
        };
        for (name, text) in pairs {
            let known = feed
                .parameters
                .iter()
                .any(|it| it.place == Place::Query && it.name == name);
            if !known {
                asked.wrong(&name, UNKNOWN_MEMBER, "there is no such parameter");
            } else if text.len() > CHARS_MAX {
                let message = format!("use at most {CHARS_MAX} characters");
                asked.wrong(&name, INVALID_VALUE, &message);
            } else {
                asked.given.entry(name).or_default().push(text);
            }
        }
        Ok(asked)
    }

    fn wrong(&mut self, name: &str, code: &str, message: &str) {
        let path = domain::schema::join("", name);
        self.findings.push(finding(path, code, message.to_owned()));
    }

    /// Every value of a parameter that may have several, in one text or in many.
    fn several(&mut self, name: &str) -> Vec<String> {
        let given = self.given.remove(name).unwrap_or_default();
        given
            .iter()
            .flat_map(|text| text.split(','))
            .map(|value| value.trim().to_owned())
            .collect()
    }

    fn one(&mut self, name: &str) -> Option<String> {
        let mut given = self.given.remove(name)?;
        if given.len() > 1 {
            self.wrong(name, DUPLICATE_MEMBER, "this stands twice");
        }
        given.pop()
    }

    /// Where the reader goes on; nothing where it has not been anywhere.
    pub fn after(&mut self, headers: &HeaderMap) -> Option<Positions> {
        let asked = self.one("after");
        let header = LAST_EVENT_ID.to_ascii_lowercase();
        if headers.contains_key(&header) {
            let id = single(headers, &header).and_then(|value| value.to_str().ok());
            match id.map(str::trim) {
                // What a reader sends that has not had an event yet.
                Some("") => {}
                Some(id) => return self.position(LAST_EVENT_ID, id),
                None => {
                    self.wrong(LAST_EVENT_ID, INVALID_VALUE, "send it once");
                    return None;
                }
            }
        }
        self.position("after", asked.as_deref()?)
    }

    fn position(&mut self, name: &str, text: &str) -> Option<Positions> {
        text.parse()
            .inspect_err(|error| self.wrong(name, INVALID_VALUE, &format!("{error}")))
            .ok()
    }

    /// Which events of the workspace.
    pub fn filter(&mut self, principal: &Principal) -> Filter {
        let named = self.several("type");
        let mut events = BTreeSet::new();
        for name in &named {
            let found = matching(name);
            if found.is_empty() {
                let shown: String = name.chars().take(100).collect();
                let message = format!("there is no event `{shown}`");
                self.wrong("type", INVALID_VALUE, &message);
            }
            events.extend(found);
        }
        if named.is_empty() {
            events.extend(EventName::ALL);
        }
        events.retain(|event| may_read(principal, *event));
        let words = self.several("status");
        let mut statuses = BTreeSet::new();
        for word in &words {
            if let Ok(status) = serde_json::from_value::<Status>(Value::String(word.clone())) {
                statuses.insert(status);
            } else {
                let shown: String = word.chars().take(100).collect();
                let message = format!("no execution stands so: `{shown}`");
                self.wrong("status", INVALID_VALUE, &message);
            }
        }
        let execution = self.one("executionId").and_then(|text| {
            text.parse::<ExecutionId>()
                .inspect_err(|error| {
                    self.wrong("executionId", INVALID_VALUE, &error.to_string());
                })
                .ok()
        });
        Filter {
            wanted: Wanted {
                workspace: principal.workspace.clone(),
                events,
                aggregate: execution.map(|id| id.to_string()),
                statuses: (!words.is_empty()).then_some(statuses),
            },
            voter: None,
        }
    }

    /// Everything that is wrong with what was asked.
    pub fn end(self) -> Result<(), Problem> {
        if self.findings.is_empty() {
            Ok(())
        } else {
            Err(invalid(self.findings))
        }
    }
}

/// The events that a name or a prefix names, with or without `controlPlane.` before it.
fn matching(name: &str) -> Vec<EventName> {
    let short = name
        .strip_prefix(ROOT)
        .and_then(|rest| rest.strip_prefix('.'))
        .unwrap_or(name);
    match short.strip_suffix('*') {
        Some(prefix) => EventName::ALL
            .into_iter()
            .filter(|event| event.as_str().starts_with(prefix))
            .collect(),
        None => EventName::parse(short).into_iter().collect(),
    }
}

/// What the lists of the same would show.
fn may_read(principal: &Principal, event: EventName) -> bool {
    let grant = match event.aggregate() {
        AggregateKind::Skill => Grant::SkillRead,
        AggregateKind::Policy => Grant::PolicyRead,
        AggregateKind::Execution
        | AggregateKind::Incident
        | AggregateKind::Hold
        | AggregateKind::Schedule => Grant::ExecutionRead,
    };
    grant.is_held_by(&principal.actor)
}

/// What opens a block, what is a vote on it, and what ends the waiting for more.
pub const OF_APPROVALS: [EventName; 6] = [
    EventName::StepBlocked,
    EventName::ExecutionApproved,
    EventName::ExecutionRejected,
    EventName::CancelRequested,
    EventName::ExecutionStopping,
    EventName::ExecutionFailed,
];

/// What changes what `principal` may vote on.
pub fn of_approvals(principal: &Principal) -> Filter {
    let votes = Grant::ExecutionApprove.is_held_by(&principal.actor);
    let events = if votes {
        OF_APPROVALS.into()
    } else {
        BTreeSet::new()
    };
    Filter {
        wanted: Wanted {
            workspace: principal.workspace.clone(),
            events,
            aggregate: None,
            statuses: None,
        },
        voter: Some(principal.actor.clone()),
    }
}

/// Whether an event may change what `voter` may vote on. Who asked for something never votes on
/// it; others' votes and ends are told of all blocks, those of others included.
pub(super) fn concerns(voter: &Actor, recorded: &Recorded, standing: Option<&Standing>) -> bool {
    let Some(requester) = standing.and_then(|it| it.requester.as_ref()) else {
        return false;
    };
    if let Event::StepBlocked(blocked) = &recorded.event {
        blocked.approval.admits(voter, requester)
    } else {
        !voter.shares_a_person_with(requester)
    }
}
