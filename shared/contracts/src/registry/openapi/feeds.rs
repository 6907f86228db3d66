//! Live feeds: `text/event-stream`.

use serde_json::{Map, Value, json};

use super::{Components, add_get, not_null, refusals};
use crate::registry::{FEED_ERRORS, Feed, FeedName, Parameter, Place};

pub(super) const TAG: &str = "feed";

/// How a feed is read, beside what it tells.
const READING: &str = "Each message is one `CloudEvent` in JSON, as `data`; its `id` is a position. \
    Comments come while nothing happens, on some feeds with an `id` that moves on. A feed that ends \
    before its time, for a reader that is too slow among others, is opened again with \
    `Last-Event-ID`: nothing is left out and nothing comes twice.";

pub(super) fn add(paths: &mut Map<String, Value>, components: &mut Components) {
    for feed in FeedName::ALL.map(FeedName::entry) {
        let described = described(feed, components);
        add_get(paths, feed.path, described);
    }
}

fn described(feed: &Feed, components: &mut Components) -> Value {
    let parameters: Vec<Value> = feed
        .parameters
        .iter()
        .map(|parameter| shown(parameter, components))
        .collect();
    let stream = json!({
        "description": "What happens, as it happens.",
        "content": { "text/event-stream": { "schema": { "type": "string" } } },
    });
    let mut responses = Map::from_iter([("200".to_owned(), stream)]);
    if feed.ends {
        let over = "The execution has ended, and all of it was read.";
        responses.insert("204".to_owned(), json!({ "description": over }));
    }
    responses.extend(refusals(FEED_ERRORS.iter().chain(feed.errors).copied()));
    json!({
        "operationId": feed.key,
        "tags": [TAG],
        "summary": feed.key,
        "description": format!("{}\n\n{READING}", feed.what),
        "parameters": parameters,
        "responses": responses,
        "x-grant": feed.grant.as_str(),
    })
}

fn shown(parameter: &Parameter, components: &mut Components) -> Value {
    let mut schema = components.inline(parameter.schema());
    not_null(&mut schema);
    json!({
        "name": parameter.name,
        "in": parameter.place.as_str(),
        "required": parameter.place == Place::Path,
        "description": parameter.what,
        "schema": schema,
    })
}
