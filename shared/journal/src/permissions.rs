//! What each broker user may publish and subscribe to: the least that the journal's operations
//! need. Not a line more, because this is what makes "no event has two writers" true.
//!
//! | operation | publishes to |
//! | --- | --- |
//! | append | the subject of each event that the service writes |
//! | load, read, objects | `$JS.API.DIRECT.GET.<stream>`, `$JS.API.STREAM.MSG.GET.<stream>`, and both of the archive |
//! | archive | as tail, `cp.archive.>`, `cp.sealed.>`, `$JS.API.STREAM.PURGE.<stream>`, `$JS.API.CONSUMER.INFO.<stream>.<consumer>` |
//! | connect, last sequence | `$JS.API.STREAM.INFO.<stream>` |
//! | consume | `$JS.API.CONSUMER.CREATE.<stream>.<consumer>`, `$JS.API.CONSUMER.MSG.NEXT.<stream>.<consumer>`, `$JS.ACK.<stream>.<consumer>.>` |
//! | ask what waits | `$JS.API.CONSUMER.INFO.<stream>.<consumer>` |
//! | tail | `$JS.API.CONSUMER.CREATE.<stream>` (which can make no durable consumer), `$JS.FC.>` |
//! | arm | `cp.timer.arm.<service that is woken>.>` |
//! | put an object | `cp.object.>` |
//! | request | the subject that is asked |
//! | keep what is refused of an inbox, take out what cannot be read | `cp.refused.>`, `$JS.API.STREAM.INFO`, `.CONSUMER.INFO`, `.STREAM.MSG.GET` and `.STREAM.MSG.DELETE` of the inbox |
//!
//! Every answer comes to the user's own inbox.

use std::collections::BTreeSet;

use contracts::{
    event::{EventName, Service},
    ids::{PrincipalId, WorkspaceId},
    position::StreamId,
    subject::{API_ROOT, REPUBLISHED_ROOT, encode_token},
};

use crate::{
    archive::{PARTS_ROOT, SEALS_ROOT},
    delivery::{Purpose, name, name_for, on_executions, wakes},
    inbox::inbox_subject,
    layout::{ARCHIVE, INBOX, OBJECTS, REFUSED, StreamCount, TIMERS, event_filter, inbox},
    request::skill_subject,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    pub publish: Vec<String>,
    pub subscribe: Vec<String>,
    /// Whether it may answer what it receives, wherever the asker wants the answer.
    pub allow_responses: bool,
}

/// The prefix of a user's inbox.
pub fn inbox_prefix(user: &str) -> String {
    format!("_INBOX_{user}")
}

/// The prefix of a caller's inbox: what clients have by themselves. In its account there is nobody
/// else.
pub const CALLER_INBOX_PREFIX: &str = "_INBOX";

/// Where whoever is connected asks the broker as whom.
pub const ACCOUNT_QUESTION: &str = "$SYS.REQ.USER.INFO";

/// Where the broker has answers brought that are for another account. No user may name such a
/// subject for its own answer, so this tells who asks across a border from who does not.
pub const ACROSS_ACCOUNTS: &str = "_R_.";

/// The user of an operator's tools.
pub const OPERATOR: &str = "operator";

/// What a service may do, where these workspaces have an inbox.
pub fn for_service(
    service: Service,
    streams: StreamCount,
    inboxes: &BTreeSet<WorkspaceId>,
) -> Permissions {
    let mut publish: Vec<String> = service.writes().map(event_filter).collect();
    publish.extend(reads(streams));
    publish.extend(follows(streams));
    for (stream, consumer) in consumers(service, streams, inboxes) {
        publish.extend([
            format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}"),
            format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            format!("$JS.ACK.{stream}.{consumer}.>"),
            // The form that names domain and account before the stream.
            format!("$JS.ACK.*.*.{stream}.{consumer}.>"),
        ]);
    }
    let mut subscribe = vec![format!("{}.>", inbox_prefix(service.as_str()))];
    match service {
        Service::Planner | Service::Verifier | Service::Executor => {
            // A service wakes itself. What another is woken by would decide nothing, but it is
            // not this one's to say.
            publish.push(format!("cp.timer.arm.{service}.>"));
            if service == Service::Planner {
                // The first to see an intent arms its deadline, which the executor keeps.
                publish.push("cp.timer.arm.executor.*.execution.*.*.deadline".to_owned());
            }
        }
        // Requests, and the questions of `nats micro`. Where answers go is said, and not left to what
        // is asked: the broker would keep the reply subject of each delivery for that, and look
        // through all that it keeps at each that comes.
        Service::Intake | Service::Projector => {
            subscribe.extend(["cp.api.>".to_owned(), "$SRV.>".to_owned()]);
            publish.extend([
                format!("{ACROSS_ACCOUNTS}>"),
                format!("{}.>", inbox_prefix(OPERATOR)),
            ]);
        }
    }
    if service == Service::Intake {
        // How much waits, before it takes more.
        let driving = on_executions().filter(|(_, purpose, _)| *purpose == Purpose::Drive);
        publish.extend(driving.flat_map(|(service, purpose, event)| {
            let consumer = name_for(service, purpose, event);
            let streams = streams.streams_of(event).into_iter();
            streams.map(move |id| format!("$JS.API.CONSUMER.INFO.{}.{consumer}", id.name()))
        }));
        // What is refused of an inbox is kept, and what no client can read is taken out of it.
        publish.push("cp.refused.>".to_owned());
        let consumer = name(service, Purpose::Inbox);
        for stream in inboxes.iter().map(inbox) {
            publish.extend([
                format!("$JS.API.STREAM.INFO.{stream}"),
                format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}"),
                format!("$JS.API.STREAM.MSG.GET.{stream}"),
                format!("$JS.API.STREAM.MSG.DELETE.{stream}"),
            ]);
        }
    }
    if writes_large_payloads(service) {
        publish.push("cp.object.>".to_owned());
    }
    if service == Service::Executor {
        publish.push("cp.skill.>".to_owned());
    }
    Permissions {
        publish,
        subscribe,
        allow_responses: false,
    }
}

/// Streams and durable consumers of a service.
fn consumers(
    service: Service,
    streams: StreamCount,
    inboxes: &BTreeSet<WorkspaceId>,
) -> Vec<(String, String)> {
    let woken = wakes(service).iter().flat_map(|(purpose, events)| {
        events.iter().flat_map(move |event| {
            let streams = streams.streams_of(*event).into_iter();
            streams.map(move |stream| (stream.name(), name_for(service, *purpose, *event)))
        })
    });
    let timers = || (TIMERS.to_owned(), name(service, Purpose::Timers));
    let letters = |workspace| (inbox(workspace), name(service, Purpose::Inbox));
    match service {
        Service::Planner | Service::Verifier | Service::Executor => {
            woken.chain([timers()]).collect()
        }
        Service::Intake => inboxes.iter().map(letters).collect(),
        Service::Projector => Vec::new(),
    }
}

/// What a principal may do: ask for operations and publish intents in its own name, and hear the
/// answers. In the account that it has for itself everything else would be in vain; here it is
/// refused, which is heard.
pub fn caller(workspace: &WorkspaceId, principal: &PrincipalId) -> Permissions {
    Permissions {
        publish: vec![
            caller_subject(workspace, principal, ">"),
            inbox_subject(workspace, principal),
        ],
        subscribe: vec![format!("{CALLER_INBOX_PREFIX}.>")],
        allow_responses: false,
    }
}

/// Where a principal asks for an operation. The principal is encoded: it cannot leave its own.
pub fn caller_subject(workspace: &WorkspaceId, principal: &PrincipalId, operation: &str) -> String {
    let principal = encode_token(principal.as_str());
    format!("{API_ROOT}.{workspace}.{principal}.{operation}")
}

/// The broker's user of a principal: with its workspace, so that no two are one.
pub fn caller_name(workspace: &WorkspaceId, principal: &PrincipalId) -> String {
    format!("{workspace}.{}", encode_token(principal.as_str()))
}

/// What a worker may do: hear the calls of its skills, and answer them.
pub fn worker<'a>(
    workspace: &WorkspaceId,
    names: impl IntoIterator<Item = &'a str>,
) -> Permissions {
    Permissions {
        publish: Vec::new(),
        subscribe: names
            .into_iter()
            .map(|name| skill_subject(workspace, name))
            .collect(),
        allow_responses: true,
    }
}

/// What whoever installs may do: make streams and look after them. It writes no event.
pub fn installer(user: &str) -> Permissions {
    Permissions {
        publish: vec![
            "$JS.API.STREAM.INFO.*".to_owned(),
            "$JS.API.STREAM.CREATE.*".to_owned(),
            // To turn republishing on or off.
            "$JS.API.STREAM.UPDATE.*".to_owned(),
            // In what account it is.
            ACCOUNT_QUESTION.to_owned(),
            // In whose place each workspace's own is put.
            format!("$JS.API.STREAM.DELETE.{INBOX}"),
        ],
        subscribe: vec![format!("{}.>", inbox_prefix(user))],
        allow_responses: false,
    }
}

/// What an operator's tool may do: read and follow the log, ask which services there are, and
/// nothing else.
pub fn reader(streams: StreamCount) -> Permissions {
    let mut publish = reads(streams);
    publish.extend(follows(streams));
    publish.push("$SRV.>".to_owned());
    publish.push(format!("$JS.API.STREAM.MSG.GET.{REFUSED}"));
    Permissions {
        publish,
        subscribe: vec![format!("{}.>", inbox_prefix(OPERATOR))],
        allow_responses: false,
    }
}

/// What the archiver may do: read, write each part and each seal of the archive, ask how far
/// services have come, and purge. Nobody else may.
pub fn archiver(user: &str, streams: StreamCount) -> Permissions {
    let mut publish = reads(streams);
    publish.extend(follows(streams));
    publish.extend([PARTS_ROOT, SEALS_ROOT].map(|root| format!("{root}.>")));
    // How much is stored, and how much may be.
    publish.push("$JS.API.INFO".to_owned());
    for id in streams.streams() {
        if matches!(id, StreamId::Log(_)) {
            let stream = id.name();
            publish.push(format!("$JS.API.STREAM.PURGE.{stream}"));
            publish.extend(on_executions().map(|(service, purpose, event)| {
                let consumer = name_for(service, purpose, event);
                format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}")
            }));
        }
    }
    Permissions {
        publish,
        subscribe: vec![format!("{}.>", inbox_prefix(user))],
        allow_responses: false,
    }
}

/// What a subscriber to republished events may do: hear those of one workspace, or of all, and say
/// nothing.
pub fn events_reader(workspace: Option<&WorkspaceId>) -> Permissions {
    let subject = match workspace {
        Some(workspace) => format!("{REPUBLISHED_ROOT}.{workspace}.>"),
        None => format!("{REPUBLISHED_ROOT}.>"),
    };
    Permissions {
        publish: Vec::new(),
        subscribe: vec![subject],
        allow_responses: false,
    }
}

fn reads(streams: StreamCount) -> Vec<String> {
    let mut publish = Vec::new();
    let kept = [ARCHIVE, OBJECTS].map(str::to_owned);
    for stream in log_streams(streams).chain(kept) {
        publish.extend([
            format!("$JS.API.STREAM.INFO.{stream}"),
            format!("$JS.API.STREAM.MSG.GET.{stream}"),
            format!("$JS.API.DIRECT.GET.{stream}"),
        ]);
    }
    // Their settings are checked by all who connect; their messages are for consumers.
    publish.extend([TIMERS, REFUSED].map(|stream| format!("$JS.API.STREAM.INFO.{stream}")));
    publish
}

fn follows(streams: StreamCount) -> Vec<String> {
    log_streams(streams)
        .map(|stream| format!("$JS.API.CONSUMER.CREATE.{stream}"))
        .chain(["$JS.FC.>".to_owned()])
        .collect()
}

fn log_streams(streams: StreamCount) -> impl Iterator<Item = String> {
    streams.streams().into_iter().map(StreamId::name)
}

fn writes_large_payloads(service: Service) -> bool {
    // All events but incidents may carry a document of any size.
    service
        .writes()
        .any(|event| event != EventName::IncidentRaised)
}
