//! The streams and their settings: made by [`install`], checked by every service that starts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use contracts::{
    ids::WorkspaceId,
    position::StreamId,
    subject::{INBOX_ROOT, REPUBLISHED_ROOT, ROOT},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json};

use super::{
    ConnectError, ConnectOptions,
    link::{CallError, Link},
};
use crate::{
    archive::{PARTS_ROOT, SEALS_ROOT, WindowSize},
    inbox::inbox_filter,
    layout::{ARCHIVE, INBOX, OBJECTS, REFUSED, StreamCount, TIMERS, inbox},
    permissions::ACCOUNT_QUESTION,
};

/// How long streams may take to be ready: a cluster elects its leaders first.
const PATIENCE: Duration = Duration::from_secs(20);

/// In a stream's metadata, so that a service that was started with another count can say so.
const STREAM_COUNT: &str = "control-plane.streams";

/// In the metadata of the archive: how many sequences each window of it holds.
const ARCHIVE_WINDOW: &str = "control-plane.archive-window";

/// In the metadata of a stream of the log whose events are republished. It is written together with
/// the setting, by [`install`] alone: so whoever reads both knows whether that is meant.
const REPUBLISHED: &str = "control-plane.republish";

/// A setting of a stream that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub stream: String,
    pub setting: String,
    pub wanted: String,
    pub found: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            stream,
            setting,
            wanted,
            found,
        } = self;
        write!(f, "`{stream}` has {setting} = {found} instead of {wanted}")
    }
}

/// What `controlplane install` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallOptions {
    pub streams: StreamCount,
    /// Of each stream: 1, or 3 on a cluster. Absent, as the log has them, which is 1 in a new one.
    pub replicas: Option<u8>,
    /// Whether stored events are published again as `events.<workspace>.…`, for whoever may
    /// subscribe. Absent, it stays as it is, which is off in a new log.
    pub republish: Option<bool>,
    /// Which workspaces have an inbox: those of principals that the broker knows.
    pub inboxes: BTreeSet<WorkspaceId>,
    /// How many sequences of a stream are sealed at once, in a new log.
    pub archive_window: WindowSize,
}

impl InstallOptions {
    pub fn new(streams: StreamCount) -> Self {
        Self {
            streams,
            replicas: None,
            republish: None,
            inboxes: BTreeSet::new(),
            archive_window: WindowSize::USUAL,
        }
    }
}

/// What [`install`] has done; every other stream was as it has to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Installed {
    pub made: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
    /// Of each stream.
    pub replicas: u64,
}

/// Makes the streams that are missing, and checks those that are there. The only creator of
/// streams.
pub async fn install(
    options: &ConnectOptions,
    install: InstallOptions,
) -> Result<Installed, ConnectError> {
    let link = super::open(options).await?;
    if link.client.server_info().auth_required && is_everybodys(&link).await {
        return Err(ConnectError::OneAccount);
    }
    let mut replicas = install.replicas.map(u64::from);
    let mut installed = Installed::default();
    let mut differences = Vec::new();
    let mut to_change = Vec::new();
    if remove_shared_inbox(&link).await? {
        installed.removed.push(INBOX.to_owned());
    }
    let inboxes = install.inboxes.iter();
    let inboxes = inboxes.map(|workspace| inbox_stream(install.streams, workspace));
    for mut wanted in all_streams(install.streams).into_iter().chain(inboxes) {
        if wanted.name == ARCHIVE {
            let window = install.archive_window.get().to_string();
            wanted.describe(ARCHIVE_WINDOW, json!(window));
        }
        let found = find(&link, &wanted.name).await?;
        let as_found = found
            .as_ref()
            .and_then(|it| it.get("num_replicas")?.as_u64());
        let replicas = *replicas.get_or_insert(as_found.unwrap_or(1));
        wanted.set("num_replicas", json!(replicas));
        installed.replicas = replicas;
        if let Some(found) = found {
            differences.extend(wanted.differences(&found, install.streams)?);
            let mut settings = found.clone();
            if let Some(on) = install.republish
                && wanted.is_of_log
                && on != is_republished(&found)
            {
                settings = republishing(settings, on);
            }
            if settings != found {
                to_change.push((wanted.name, settings));
            }
        } else {
            if install.republish == Some(true) && wanted.is_of_log {
                wanted.settings = republishing(wanted.settings, true);
            }
            create(&link, &wanted).await?;
            installed.made.push(wanted.name);
        }
    }
    // Nothing is changed in a log that is not as it has to be.
    if differences.is_empty() {
        for (name, settings) in to_change {
            send(&link, "UPDATE", &name, settings).await?;
            installed.changed.push(name);
        }
    }
    link.close().await;
    if differences.is_empty() {
        Ok(installed)
    } else {
        Err(ConnectError::Settings(differences))
    }
}

/// Whether this is the account of all that no configuration gives one. Who may not ask is in it: its
/// permissions were written before there were others.
async fn is_everybodys(link: &Link) -> bool {
    #[derive(Deserialize)]
    struct Told {
        data: As,
    }
    #[derive(Deserialize)]
    struct As {
        account: String,
    }
    /// As the broker calls it.
    const EVERYBODYS: &str = "$G";
    let told = link.call(ACCOUNT_QUESTION, None, Bytes::new()).await;
    let told = told
        .ok()
        .and_then(|told| serde_json::from_slice::<Told>(&told.payload).ok());
    told.is_none_or(|told| told.data.account == EVERYBODYS)
}

/// Older logs have one inbox for all workspaces. Its subjects are taken from it first, so that nothing
/// comes to it between the look and the end; whether it was there.
async fn remove_shared_inbox(link: &Link) -> Result<bool, ConnectError> {
    let Some(Info { mut config, .. }) = info(link, INBOX).await? else {
        return Ok(false);
    };
    config.insert("subjects".to_owned(), json!(["cp.inbox-closed"]));
    send(link, "UPDATE", INBOX, config.clone()).await?;
    let waiting = info(link, INBOX).await?;
    let waiting = waiting.map_or(0, |info| info.state.messages);
    if waiting > 0 {
        config.insert("subjects".to_owned(), json!([format!("{INBOX_ROOT}.>")]));
        send(link, "UPDATE", INBOX, config).await?;
        return Err(ConnectError::SharedInbox { waiting });
    }
    send(link, "DELETE", INBOX, Map::new()).await?;
    Ok(true)
}

/// What this log was made with.
pub(super) async fn verify(link: &Link, count: StreamCount) -> Result<WindowSize, ConnectError> {
    let found = verify_these(link, count, all_streams(count)).await?;
    let archive = found.get(ARCHIVE).and_then(|found| found.get("metadata"));
    let window = archive.and_then(|metadata| metadata.get(ARCHIVE_WINDOW));
    let window = window.and_then(Value::as_str);
    let known = window.and_then(|text| WindowSize::try_new(text.parse().ok()?));
    known.ok_or_else(|| {
        ConnectError::Settings(vec![Difference {
            stream: ARCHIVE.to_owned(),
            setting: ARCHIVE_WINDOW.to_owned(),
            wanted: format!("a number up to {}", WindowSize::USUAL.get()),
            found: window.unwrap_or("(not set)").to_owned(),
        }])
    })
}

pub(super) async fn verify_inbox(
    link: &Link,
    count: StreamCount,
    workspace: &WorkspaceId,
) -> Result<(), ConnectError> {
    let inbox = vec![inbox_stream(count, workspace)];
    verify_these(link, count, inbox).await.map(|_| ())
}

async fn verify_these(
    link: &Link,
    count: StreamCount,
    streams: Vec<Stream>,
) -> Result<BTreeMap<String, Map<String, Value>>, ConnectError> {
    let (mut all, mut differences) = (BTreeMap::new(), Vec::new());
    for wanted in streams {
        let Some(found) = find(link, &wanted.name).await? else {
            return Err(ConnectError::Missing {
                stream: wanted.name,
            });
        };
        differences.extend(wanted.differences(&found, count)?);
        all.insert(wanted.name, found);
    }
    if differences.is_empty() {
        Ok(all)
    } else {
        Err(ConnectError::Settings(differences))
    }
}

struct Stream {
    name: String,
    settings: Map<String, Value>,
    /// Whether it holds events.
    is_of_log: bool,
}

fn all_streams(count: StreamCount) -> Vec<Stream> {
    // The catalogue first: it is there in every log, and knows how many others there are.
    let mut ids = count.streams();
    ids.rotate_right(1);
    ids.into_iter()
        .map(|id| log_stream(count, id))
        .chain([
            archive_stream(count),
            timer_stream(count),
            object_stream(count),
            refused_stream(count),
        ])
        .collect()
}

impl Stream {
    /// With what is the same for all, also what has to be off.
    fn named(name: String, count: StreamCount, subjects: &[String]) -> Self {
        let settings = json!({
            "name": name,
            "subjects": subjects,
            "storage": "file",
            "retention": "limits",
            "discard": "new",
            "discard_new_per_subject": false,
            "max_msgs_per_subject": 1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_age": 0,
            "max_msg_size": -1,
            "max_consumers": -1,
            "no_ack": false,
            "sealed": false,
            "allow_direct": true,
            "allow_atomic": false,
            "allow_rollup_hdrs": false,
            "allow_msg_ttl": false,
            "allow_msg_counter": false,
            "allow_msg_schedules": false,
            "deny_delete": false,
            // It could never be turned off again, and archiving purges.
            "deny_purge": false,
            "compression": "none",
            "metadata": { STREAM_COUNT: count.get().to_string() },
            "mirror": null,
            "sources": null,
            "subject_transform": null,
            "republish": null,
            "persist_mode": null,
        });
        let Value::Object(settings) = settings else {
            unreachable!("a JSON object was written above")
        };
        Self {
            name,
            settings,
            is_of_log: false,
        }
    }

    fn set(&mut self, setting: &str, value: Value) {
        self.settings.insert(setting.to_owned(), value);
    }

    fn describe(&mut self, name: &str, value: Value) {
        if let Some(Value::Object(metadata)) = self.settings.get_mut("metadata") {
            metadata.insert(name.to_owned(), value);
        }
    }

    fn differences(
        &self,
        found: &Map<String, Value>,
        count: StreamCount,
    ) -> Result<Vec<Difference>, ConnectError> {
        let of_log = found
            .get("metadata")
            .and_then(|metadata| metadata.get(STREAM_COUNT));
        if let Some(of_log) = of_log.and_then(Value::as_str)
            && of_log != count.get().to_string()
        {
            return Err(ConnectError::StreamCount {
                log: of_log.to_owned(),
                given: count.get(),
            });
        }
        let differences = self.settings.iter().filter(|(name, _)| *name != "metadata");
        // On or off, as whoever installed says it is to be.
        let republish = republish(self.is_of_log && is_republished(found));
        Ok(differences
            .filter_map(|(name, wanted)| {
                let wanted = if name == "republish" {
                    &republish
                } else {
                    wanted
                };
                let found = found.get(name);
                (!same(wanted, found)).then(|| Difference {
                    stream: self.name.clone(),
                    setting: name.clone(),
                    wanted: wanted.to_string(),
                    found: found.map_or_else(|| "(not set)".to_owned(), Value::to_string),
                })
            })
            .collect())
    }
}

/// Whether the events of a stream are meant to be published again.
fn is_republished(found: &Map<String, Value>) -> bool {
    let metadata = found.get("metadata");
    metadata.and_then(|metadata| metadata.get(REPUBLISHED)) == Some(&json!("on"))
}

fn republish(on: bool) -> Value {
    if on {
        json!({ "src": format!("{ROOT}.>"), "dest": format!("{REPUBLISHED_ROOT}.>") })
    } else {
        Value::Null
    }
}

/// The settings with republishing on or off, and their metadata with them.
fn republishing(mut settings: Map<String, Value>, on: bool) -> Map<String, Value> {
    settings.insert("republish".to_owned(), republish(on));
    if let Some(Value::Object(metadata)) = settings.get_mut("metadata") {
        if on {
            metadata.insert(REPUBLISHED.to_owned(), json!("on"));
        } else {
            metadata.remove(REPUBLISHED);
        }
    }
    settings
}

/// The broker leaves out what is off.
fn same(wanted: &Value, found: Option<&Value>) -> bool {
    let off = Value::Null;
    let found = found.unwrap_or(&off);
    match (wanted, found) {
        (Value::Bool(false) | Value::Null, Value::Null) => true,
        (Value::Null, Value::String(text)) => text.is_empty(),
        (Value::Object(wanted), Value::Object(found)) => {
            let names: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
            names
                .iter()
                .all(|name| same(wanted.get(*name).unwrap_or(&off), found.get(*name)))
        }
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len() && wanted.iter().all(|item| found.contains(item))
        }
        (wanted, found) => wanted == found,
    }
}

fn log_stream(count: StreamCount, id: StreamId) -> Stream {
    let mut stream = Stream::named(id.name(), count, &count.subjects(id));
    stream.is_of_log = true;
    stream.set("discard_new_per_subject", json!(true));
    stream.set("allow_atomic", json!(true));
    stream.set("deny_delete", json!(true));
    stream
}

/// Each part and each seal is written once, and stays.
fn archive_stream(count: StreamCount) -> Stream {
    let subjects = [PARTS_ROOT, SEALS_ROOT].map(|root| format!("{root}.>"));
    let mut stream = Stream::named(ARCHIVE.to_owned(), count, &subjects);
    stream.set("discard_new_per_subject", json!(true));
    stream.set("deny_delete", json!(true));
    stream.set("compression", json!("s2"));
    stream
}

/// Measured on 2.15.1: as a work queue a fired wake-up is gone once it is acknowledged, a
/// schedule waits without a consumer, a new one on a subject replaces the old one, and one that
/// is past due fires within 300 ms, also after a restart.
fn timer_stream(count: StreamCount) -> Stream {
    let mut stream = Stream::named(TIMERS.to_owned(), count, &["cp.timer.>".to_owned()]);
    stream.set("retention", json!("workqueue"));
    stream.set("discard", json!("old"));
    stream.set("allow_msg_schedules", json!(true));
    stream.set("allow_rollup_hdrs", json!(true));
    stream
}

fn object_stream(count: StreamCount) -> Stream {
    let mut stream = Stream::named(OBJECTS.to_owned(), count, &["cp.object.>".to_owned()]);
    stream.set("discard_new_per_subject", json!(true));
    stream.set("deny_delete", json!(true));
    stream
}

/// Messages of one principal that wait in its workspace's inbox, and bytes of each: together no more
/// than half of the inbox, and far fewer than are delivered before they are answered, so that one who
/// floods it is in nobody else's way.
const INBOX_OF_ONE_MAX: u32 = 1_000;
const INBOX_MESSAGE_BYTES_MAX: u32 = 128 * 1024;

/// Of all that waits there; the broker sets it apart on its disk, however little is used.
const INBOX_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Of what was refused; the oldest goes first.
const REFUSED_MESSAGES_MAX: u32 = 100_000;
const REFUSED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// INVARIANT: whoever publishes here has an account of its own. The broker acknowledges to whatever
/// subject the publisher named, with rights that the publisher has not: in this account that could be
/// one below `controlPlane.`, and the acknowledgement be stored as an event.
fn inbox_stream(count: StreamCount, workspace: &WorkspaceId) -> Stream {
    let mut stream = Stream::named(inbox(workspace), count, &[inbox_filter(workspace)]);
    stream.set("retention", json!("workqueue"));
    stream.set("discard_new_per_subject", json!(true));
    stream.set("max_msgs_per_subject", json!(INBOX_OF_ONE_MAX));
    stream.set("max_bytes", json!(INBOX_BYTES_MAX));
    stream.set("max_msg_size", json!(INBOX_MESSAGE_BYTES_MAX));
    stream.set("allow_direct", json!(false));
    // The shortest there is: an id that was seen under another principal's subject drops a message,
    // and what is to happen once is said by the event's own `source` and `id`.
    stream.set("duplicate_window", json!(100_000_000));
    stream
}

fn refused_stream(count: StreamCount) -> Stream {
    let mut stream = Stream::named(REFUSED.to_owned(), count, &["cp.refused.>".to_owned()]);
    stream.set("discard", json!("old"));
    stream.set("max_msgs", json!(REFUSED_MESSAGES_MAX));
    stream.set("max_bytes", json!(REFUSED_BYTES_MAX));
    stream.set("allow_direct", json!(false));
    stream
}

#[derive(Deserialize)]
struct Info {
    config: Map<String, Value>,
    state: State,
}

#[derive(Deserialize)]
struct State {
    messages: u64,
}

/// The settings of a stream, if it is there.
async fn find(link: &Link, name: &str) -> Result<Option<Map<String, Value>>, ConnectError> {
    Ok(info(link, name).await?.map(|info| info.config))
}

async fn info(link: &Link, name: &str) -> Result<Option<Info>, ConnectError> {
    /// "stream not found"
    const NOT_FOUND: u16 = 10059;
    let operation = format!("STREAM.INFO.{name}");
    match link
        .api_patiently::<Info>(&operation, &Value::Null, PATIENCE)
        .await
    {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.api_code() == Some(NOT_FOUND) => Ok(None),
        Err(error) => Err(failed(name, error)),
    }
}

async fn create(link: &Link, stream: &Stream) -> Result<(), ConnectError> {
    send(link, "CREATE", &stream.name, stream.settings.clone()).await
}

async fn send(
    link: &Link,
    verb: &str,
    name: &str,
    mut settings: Map<String, Value>,
) -> Result<(), ConnectError> {
    settings.retain(|_, value| !value.is_null());
    let operation = format!("STREAM.{verb}.{name}");
    match link
        .api_patiently::<IgnoredAny>(&operation, &Value::Object(settings), PATIENCE)
        .await
    {
        Ok(_) => Ok(()),
        Err(error) => Err(failed(name, error)),
    }
}

fn failed(stream: &str, source: CallError) -> ConnectError {
    ConnectError::Stream {
        stream: stream.to_owned(),
        source: source.into(),
    }
}
