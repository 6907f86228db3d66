//! The feed of one execution: its history from the log itself, then what comes.

use std::{collections::VecDeque, convert::Infallible};

use axum::{
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use contracts::{
    ids::ExecutionId,
    plan::Status,
    position::{Position, Positions},
    record::Recorded,
    registry::FeedName,
    subject::AggregateId,
};
use domain::{execution::Execution, trace::Payloads};
use futures::stream;
use host::{http::Refused, principals::Principal};
use journal::history::Read;
use tokio::{sync::broadcast, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    HEARTBEAT, Item, TOO_SLOW,
    credential::{CHECK_EVERY, Credential},
    message, payloads,
    places::Place,
};
use crate::{api::Api, log};

/// Complete `CloudEvents` from the first one on or after `after`, until the execution has ended.
/// Resumed after the end, it is 204, which tells a browser not to come again.
pub async fn watch(
    api: &Api,
    principal: &Principal,
    execution: ExecutionId,
    after: Option<Positions>,
    headers: &HeaderMap,
) -> Result<Response, Refused> {
    principal.require(FeedName::Execution.entry().grant)?;
    let after = after.unwrap_or_default();
    api.reached.check(&after)?;
    let aggregate = AggregateId::execution(principal.workspace.clone(), execution);
    // Before the history is read, so that nothing falls between the two.
    let place = api.feeds.places.take(principal, &api.host.metrics)?;
    let live = api.feeds.of_execution(&aggregate);
    if !api.reached.covers(&after) {
        log::is_reached(&api.host, &after).await?;
    }
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
        payloads: payloads(principal),
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
                    let recorded = &item.recorded;
                    if recorded.version() <= state.version() {
                        // The history had it already.
                        self.state = Some(state);
                        continue;
                    }
                    self.state = Some(state.evolve(recorded));
                    return Some(self.shown(item.position, recorded));
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    return Some(Event::default().comment(TOO_SLOW));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// One execution is in one stream, so that its own position is enough to go on.
    fn shown(&self, position: Position, recorded: &Recorded) -> Event {
        message(&position.into(), position, recorded, self.payloads)
    }
}

fn is_over(state: &Execution) -> bool {
    state.status().is_none_or(Status::is_terminal)
}
