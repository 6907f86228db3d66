//! Live feeds of single executions: what is stored so far, then what the projection reads.
//!
//! A process follows the log once, whatever the number of its readers. A reader that is too slow
//! is let go, and resumes with the id it has; one whose credential has changed comes again with
//! the new one.
//!
//! * [`places`]: how many feeds are read at once

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use contracts::{
    ids::ExecutionId,
    plan::Status,
    position::{Position, Positions},
    problem::Problem,
    record::Recorded,
    registry::Grant,
    subject::AggregateId,
};
use domain::{
    execution::Execution,
    trace::{Payloads, cloud_event},
};
use futures::stream;
use host::{
    http::{
        Refused,
        door::Door,
        input::{INVALID_VALUE, one_finding},
        single,
    },
    principals::Principal,
};
use journal::{history::Read, stored::Entry};
use tokio::{sync::broadcast, time::sleep};
use tokio_util::sync::CancellationToken;

use self::places::{Place, Places};
use crate::{api::Api, log};

mod places;

/// Events of one execution that wait for its slowest reader: more than one batch can bring.
const WAITING_MAX: usize = 1024;

/// Below what proxies usually wait before they close a silent connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a credential may have been taken back before a silent feed ends.
const CHECK_EVERY: Duration = Duration::from_secs(5);

type Item = Arc<(Position, Recorded)>;

/// The executions that are being watched.
#[derive(Default)]
pub struct Feeds {
    open: Mutex<BTreeMap<AggregateId, broadcast::Sender<Item>>>,
    places: Arc<Places>,
}

impl Feeds {
    /// Hands on what is now stored to those who watch it.
    pub fn publish(&self, entries: Vec<Entry>) {
        let mut open = self.open();
        if open.is_empty() {
            return;
        }
        for entry in entries {
            let Ok(recorded) = entry.recorded else {
                continue;
            };
            let Some(feed) = open.get(&recorded.subject.aggregate) else {
                continue;
            };
            if let Err(unread) = feed.send(Arc::new((entry.position, recorded))) {
                open.remove(&unread.0.1.subject.aggregate);
            }
        }
    }

    fn subscribe(&self, aggregate: &AggregateId) -> broadcast::Receiver<Item> {
        let mut open = self.open();
        // Those whose readers have gone without an event since.
        open.retain(|_, feed| feed.receiver_count() > 0);
        open.entry(aggregate.clone())
            .or_insert_with(|| broadcast::Sender::new(WAITING_MAX))
            .subscribe()
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<AggregateId, broadcast::Sender<Item>>> {
        // A map of senders is whole after any panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `GET /v1/executions/{id}/events`: complete `CloudEvents` as server-sent events, from the first
/// one on or after `Last-Event-ID`, until the execution has ended. Resumed after the end, it is
/// 204, which tells a browser not to come again.
pub async fn watch(
    api: &Api,
    principal: &Principal,
    execution: ExecutionId,
    headers: &HeaderMap,
) -> Result<Response, Refused> {
    principal.require(Grant::ExecutionRead)?;
    // What `trace.get` asks for the same.
    let grants = [Grant::TraceRead, Grant::TracePayloads];
    let payloads = if grants
        .iter()
        .all(|grant| grant.is_held_by(&principal.actor))
    {
        Payloads::Whole
    } else {
        Payloads::Masked
    };
    let after = resumed(headers)?;
    api.reached.check(&after)?;
    let aggregate = AggregateId::execution(principal.workspace.clone(), execution);
    // Before the history is read, so that nothing falls between the two.
    let place = api.feeds.places.take(principal)?;
    let live = api.feeds.subscribe(&aggregate);
    let history = log::history(&api.host, &aggregate, Read::Confirmed).await?;
    let state = Execution::fold(history.iter().map(|(_, recorded)| recorded));
    let unread: VecDeque<_> = history
        .into_iter()
        .filter(|(position, _)| position.sequence > after.get(position.stream))
        .collect();
    if unread.is_empty() && is_over(&state) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let feed = Feed {
        unread,
        state: Some(state),
        live,
        payloads,
        credential: Credential::of(api, principal, headers),
        shutdown: api.host.shutdown.clone(),
        _place: place,
    };
    let events = stream::unfold(feed, async |mut feed| {
        let event = feed.next().await?;
        Some((Ok::<_, Infallible>(event), feed))
    });
    let heartbeat = KeepAlive::new().interval(HEARTBEAT).text("heartbeat");
    Ok(Sse::new(events).keep_alive(heartbeat).into_response())
}

fn resumed(headers: &HeaderMap) -> Result<Positions, Problem> {
    const HEADER: &str = "last-event-id";
    if !headers.contains_key(HEADER) {
        return Ok(Positions::beginning());
    }
    let id = single(headers, HEADER).and_then(|value| value.to_str().ok());
    match id.map(str::trim) {
        // What a reader sends that has not had an event yet.
        Some("") => Ok(Positions::beginning()),
        Some(id) => id
            .parse()
            .map_err(|error| one_finding("/Last-Event-ID", INVALID_VALUE, format!("{error}"))),
        None => Err(one_finding(
            "/Last-Event-ID",
            INVALID_VALUE,
            "send it once".to_owned(),
        )),
    }
}

/// What a feed was opened with.
struct Credential {
    door: Arc<Door>,
    principal: Principal,
    headers: HeaderMap,
}

impl Credential {
    fn of(api: &Api, principal: &Principal, headers: &HeaderMap) -> Self {
        let own = headers.get(AUTHORIZATION).cloned();
        Self {
            door: Arc::clone(&api.door),
            principal: principal.clone(),
            headers: own.map(|own| (AUTHORIZATION, own)).into_iter().collect(),
        }
    }

    /// Whether it still is the same principal's, with the same grants.
    async fn stands(&self) -> bool {
        let authenticated = self.door.authenticate(&self.headers).await;
        authenticated.as_ref() == Ok(&self.principal)
    }
}

/// One reader.
struct Feed {
    /// Stored before the reader came.
    unread: VecDeque<(Position, Recorded)>,
    /// After all of `unread`; nothing once the feed is over.
    state: Option<Execution>,
    live: broadcast::Receiver<Item>,
    payloads: Payloads,
    credential: Credential,
    shutdown: CancellationToken,
    _place: Place,
}

impl Feed {
    /// Nothing once it is over, or its reader may not read on.
    async fn next(&mut self) -> Option<Event> {
        if let Some((position, recorded)) = self.unread.pop_front() {
            let stands = self.credential.stands().await;
            return stands.then(|| self.shown(position, &recorded));
        }
        loop {
            let state = self.state.take().filter(|state| !is_over(state))?;
            let received = tokio::select! {
                received = self.live.recv() => Some(received),
                () = sleep(CHECK_EVERY) => None,
                () = self.shutdown.cancelled() => return None,
            };
            if !self.credential.stands().await {
                return None;
            }
            let Some(received) = received else {
                self.state = Some(state);
                continue;
            };
            match received {
                Ok(item) => {
                    let (position, recorded) = item.as_ref();
                    if recorded.version() <= state.version() {
                        // The history had it already.
                        self.state = Some(state);
                        continue;
                    }
                    self.state = Some(state.evolve(recorded));
                    return Some(self.shown(*position, recorded));
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    let comment = "too slow: go on with `Last-Event-ID`";
                    return Some(Event::default().comment(comment));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    fn shown(&self, position: Position, recorded: &Recorded) -> Event {
        let event = cloud_event(position, recorded, self.payloads);
        Event::default()
            .id(Positions::from(position).to_string())
            .data(event.to_string())
    }
}

fn is_over(state: &Execution) -> bool {
    state.status().is_none_or(Status::is_terminal)
}
