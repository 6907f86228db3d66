//! Where lists and feeds go on, and what feeds show: texts of a query string.

use axum::http::{HeaderMap, HeaderValue, Uri};
use contracts::{
    facts::{Actor, ActorType},
    registry::{FeedName, Grant, OperationName},
};
use host::principals::Principal;
use projector::{feed::asked::Asked, query::cursor::List};
use serde_json::json;

pub fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    a_cursor(text);
    if let Ok(uri) = format!("/v1/events?{text}").parse::<Uri>() {
        for feed in FeedName::ALL {
            a_feed(feed, &uri, text);
        }
    }
}

/// What is read from a cursor is what it was made of.
fn a_cursor(text: &str) {
    let workspace = "acme".parse().unwrap();
    let of = |filters| List::of(OperationName::ExecutionList, &workspace, &filters);
    let list = of(json!({ "status": "running" }));
    let other = of(json!({ "status": "failed" }));
    if let Some((is_own, key)) = list.key(text) {
        assert_eq!(is_own, list.after(&key) == text);
    }
    let made = list.after(text);
    if let Some((is_own, key)) = list.key(&made) {
        assert!(is_own);
        assert_eq!(key, text);
        assert_eq!(other.key(&made), Some((false, key)));
    } else {
        assert!(made.len() > 1000, "its own cursor is not read: {made}");
    }
}

fn a_feed(feed: FeedName, uri: &Uri, text: &str) {
    let Ok(mut asked) = Asked::of(feed.entry(), uri) else {
        return;
    };
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert("last-event-id", value);
    }
    let after = asked.after(&headers);
    let filter = asked.filter(&nobody());
    assert!(
        filter.wanted.events.is_empty(),
        "who may read nothing is shown something"
    );
    if let (Some(after), Ok(())) = (after, asked.end()) {
        assert_eq!(after.to_string().parse(), Ok(after));
    }
}

fn nobody() -> Principal {
    Principal {
        actor: Actor {
            via: None,
            kind: ActorType::User,
            id: "nobody".parse().unwrap(),
            grants: [Grant::IntentSubmit.to_string()].into(),
        },
        workspace: "acme".parse().unwrap(),
    }
}
