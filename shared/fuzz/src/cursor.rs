//! Where lists and feeds go on, and what feeds show: texts of a query string.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, HeaderValue, Uri};
use contracts::{
    event::EventName,
    facts::{Actor, ActorType},
    position::Positions,
    registry::{FeedName, Grant, OperationName},
    subject::AggregateKind,
};
use host::principals::Principal;
use projector::{feed::asked::Asked, query::cursor::List};
use serde_json::json;

use crate::Reached;

pub const PROPERTIES: &[&str] = &[
    "a cursor",
    "another's cursor",
    "a feed",
    "a place in it",
    "a place from a header",
];

/// A cursor; or a query string, and after a line break, where there is one, a `Last-Event-ID`.
pub fn holds(bytes: &[u8]) -> Reached {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Reached::new();
    };
    let mut reached = a_cursor(text);
    let (query, last) = match text.split_once('\n') {
        Some((query, last)) => (query, Some(last)),
        None => (text, None),
    };
    if let Ok(uri) = format!("/v1/events?{query}").parse::<Uri>() {
        for feed in FeedName::ALL {
            reached.extend(a_feed(feed, &uri, last));
        }
    }
    reached
}

/// What is read from a cursor is what it was made of.
fn a_cursor(text: &str) -> Reached {
    let mut reached = Reached::new();
    let workspace = "acme".parse().unwrap();
    let of = |filters| List::of(OperationName::ExecutionList, &workspace, &filters);
    let list = of(json!({ "status": "running" }));
    let other = of(json!({ "status": "failed" }));
    if let Some((is_own, key)) = list.key(text) {
        assert_eq!(is_own, list.after(&key) == text);
        reached.insert(if is_own {
            "a cursor"
        } else {
            "another's cursor"
        });
    }
    let made = list.after(text);
    if let Some((is_own, key)) = list.key(&made) {
        assert!(is_own);
        assert_eq!(key, text);
        assert_eq!(other.key(&made), Some((false, key)));
    } else {
        assert!(made.len() > 1000, "its own cursor is not read: {made}");
    }
    reached
}

/// Each is shown what it may read, and no more; and what is wrong is so for all.
fn a_feed(feed: FeedName, uri: &Uri, last: Option<&str>) -> Reached {
    let of = |grants: &[Grant]| asked(feed, uri, last, grants);
    let (Some(nobody), Some(one), Some(all)) = (
        of(&[Grant::IntentSubmit]),
        of(&[Grant::ExecutionRead]),
        of(&[Grant::ExecutionRead, Grant::SkillRead, Grant::PolicyRead]),
    ) else {
        return Reached::new();
    };
    assert!(
        nobody.events.is_empty(),
        "who may read nothing is shown something"
    );
    let of_executions = |event: &EventName| {
        let kind = event.aggregate();
        !matches!(kind, AggregateKind::Skill | AggregateKind::Policy)
    };
    let expected: BTreeSet<_> = all.events.iter().copied().filter(of_executions).collect();
    assert_eq!(one.events, expected, "who may read executions");
    assert_eq!([nobody.is_right, one.is_right], [all.is_right; 2]);
    let mut reached = Reached::new();
    if all.is_right {
        assert!(!all.events.is_empty(), "who may read all is shown nothing");
        reached.insert("a feed");
        if let Some(after) = all.after {
            assert_eq!(after.to_string().parse(), Ok(after));
            reached.insert("a place in it");
            reached.extend(last.map(|_| "a place from a header"));
        }
    }
    reached
}

struct Shown {
    events: BTreeSet<EventName>,
    after: Option<Positions>,
    is_right: bool,
}

/// What someone with these grants is shown; nothing where the query string cannot be read.
fn asked(feed: FeedName, uri: &Uri, last: Option<&str>, grants: &[Grant]) -> Option<Shown> {
    let mut asked = Asked::of(feed.entry(), uri).ok()?;
    let mut headers = HeaderMap::new();
    if let Some(Ok(value)) = last.map(HeaderValue::from_str) {
        headers.insert("last-event-id", value);
    }
    let after = asked.after(&headers);
    let filter = asked.filter(&someone(grants));
    Some(Shown {
        events: filter.wanted.events,
        after,
        is_right: asked.end().is_ok(),
    })
}

fn someone(grants: &[Grant]) -> Principal {
    Principal {
        actor: Actor {
            via: None,
            kind: ActorType::User,
            id: "someone".parse().unwrap(),
            grants: grants.iter().map(Grant::to_string).collect(),
        },
        workspace: "acme".parse().unwrap(),
    }
}
