//! Feeds of a workspace: the stored events from where the reader goes on, page by page, then what
//! comes.
//!
//! A page looks at no more than so many events, however few of them are wanted; after each the
//! reader hears how far it is, so that it knows that there is someone, and need not begin again.
//!
//! The reader's place is a set of positions: all of the workspace up to it was told. Events are
//! stored and told in the order of their streams, so one that is beyond the place in its stream is
//! new, and any other was told before; that holds at the joint of both parts as within each.

use std::{convert::Infallible, sync::Arc};

use axum::{
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use contracts::{
    facts::Actor,
    position::{Position, Positions},
    record::Recorded,
    registry::Feed as Described,
};
use domain::trace::Payloads;
use futures::stream;
use host::{engine::chain, http::Refused, principals::Principal};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Feeds, HEARTBEAT, STOPPING, TOO_SLOW, UNREADABLE,
    credential::{CHECK_EVERY, Credential},
    message,
    page::Page,
    payloads,
    places::{Place, Turn},
    watch::{FellBehind, Watch},
};
use crate::{
    api::{Api, unreadable},
    database::{
        read::{
            ReadError, Reader,
            events::{EventPage, Place as Stands, Stored, Wanted},
        },
        rows::Standing,
    },
    log,
};

/// Which events of a workspace a feed tells.
pub struct Filter {
    pub wanted: Wanted,
    /// Only those that change what this one may vote on.
    pub voter: Option<Actor>,
}

impl Filter {
    fn admits(&self, recorded: &Recorded, standing: Option<&Standing>) -> bool {
        let name = recorded.event.name();
        let aggregate = self.wanted.aggregate.as_deref();
        let status = standing.map(|standing| standing.status);
        self.wanted.events.contains(&name)
            && aggregate.is_none_or(|id| id == recorded.subject.aggregate.id())
            && self
                .wanted
                .statuses
                .as_ref()
                .is_none_or(|wanted| status.is_some_and(|status| wanted.contains(&status)))
            && self
                .voter
                .as_ref()
                .is_none_or(|voter| super::asked::concerns(voter, recorded, standing))
    }
}

/// Complete `CloudEvents` from those after `after` on, or from now on.
pub async fn watch(
    api: &Api,
    principal: &Principal,
    described: &Described,
    filter: Filter,
    after: Option<Positions>,
    headers: &HeaderMap,
) -> Result<Response, Refused> {
    principal.require(described.grant)?;
    let place = api.feeds.places.take(principal, &api.host.metrics)?;
    if let Some(after) = after.as_ref().filter(|after| !api.reached.covers(after)) {
        // What the log itself does not have is not worth waiting for.
        api.reached.check(after)?;
        log::is_reached(&api.host, after).await?;
    }
    api.reached.at_least(after.as_ref()).await?;
    // Before it is looked where the read model ends, so that nothing falls between the two.
    let live = api.feeds.watches.of_workspace(&filter.wanted.workspace);
    let (_, end) = api.reader.end().await.map_err(|error| unreadable(&error))?;
    let (phase, turn, reached) = match after {
        Some(after) if !after.covers(&end) => {
            drop(live);
            let turn = place.first_turn().await?;
            let stands = api.reader.place_after(&after).await;
            let stands = stands.map_err(|error| unreadable(&error))?;
            (Phase::Reading { stands }, Some(turn), after)
        }
        // There is nothing to read.
        after => {
            let reached = after.unwrap_or(end);
            (Phase::Live { live, read: None }, None, reached)
        }
    };
    let feed = Feed {
        reader: api.reader.clone(),
        feeds: Arc::clone(&api.feeds),
        filter,
        reached,
        phase,
        turn,
        unread: Page::empty(),
        looked_at: None,
        greeted: false,
        over: false,
        heartbeat: Instant::now() + HEARTBEAT,
        payloads: payloads(principal),
        credential: Credential::of(api, principal, headers),
        shutdown: api.host.shutdown.clone(),
        place,
    };
    let events = stream::unfold(feed, async |mut feed| {
        let event = feed.next().await?;
        Some((Ok::<_, Infallible>(event), feed))
    });
    // Only where it waits for a turn: otherwise the reader hears how far it is before.
    let waiting = KeepAlive::new().interval(HEARTBEAT + CHECK_EVERY);
    let waiting = waiting.text("heartbeat");
    Ok(Sse::new(events).keep_alive(waiting).into_response())
}

/// One reader.
struct Feed {
    reader: Reader,
    feeds: Arc<Feeds>,
    filter: Filter,
    /// All before it was told.
    reached: Positions,
    phase: Phase,
    /// For the first page.
    turn: Option<Turn>,
    /// Of the last page.
    unread: Page<Stored>,
    /// To where the last page has looked, beyond what it found; told once that is read.
    looked_at: Option<Position>,
    greeted: bool,
    over: bool,
    heartbeat: Instant,
    payloads: Payloads,
    credential: Credential,
    shutdown: CancellationToken,
    place: Place,
}

enum Phase {
    /// What is stored from here on was not read.
    Reading { stands: Stands },
    /// What was stored has been read, up to here, and what comes is received.
    Live {
        live: Watch,
        read: Option<Positions>,
    },
}

impl Feed {
    /// Nothing once it is over, or its reader may not read on.
    async fn next(&mut self) -> Option<Event> {
        if self.over || !self.credential.stands().await {
            return None;
        }
        if !self.greeted {
            // So that a reader who is let go before its first event knows where it was.
            self.greeted = true;
            return Some(self.here("from here on"));
        }
        loop {
            match self.unread.pop() {
                Ok(None) => {}
                Ok(Some(it)) => {
                    let told = self.told(it.position, &it.recorded, it.standing.as_ref());
                    if told.is_some() {
                        return told;
                    }
                    continue;
                }
                Err(FellBehind) => return Some(self.over(TOO_SLOW)),
            }
            if let Some(position) = self.looked_at.take() {
                self.reached.advance(position);
                return Some(self.here("heartbeat"));
            }
            // Also where much is read and none of it is told.
            if Instant::now() >= self.heartbeat {
                return Some(self.here("heartbeat"));
            }
            match &mut self.phase {
                Phase::Reading { stands } => {
                    let stands = *stands;
                    if let Some(said) = self.read(stands).await {
                        return Some(said);
                    }
                    // It may have been taken back while others had their turns.
                    if !self.credential.stands().await {
                        return None;
                    }
                }
                Phase::Live { live, read } => {
                    if let Some(read) = read.take() {
                        self.reached.advance_to(&read);
                    }
                    let look = self.heartbeat.min(Instant::now() + CHECK_EVERY);
                    let received = tokio::select! {
                        received = live.next() => Some(received),
                        () = sleep_until(look) => None,
                        () = self.shutdown.cancelled() => return None,
                    };
                    if !self.credential.stands().await {
                        return None;
                    }
                    let Some(received) = received else {
                        continue;
                    };
                    let item = match received {
                        Ok(item) => item,
                        Err(FellBehind) => return Some(self.over(TOO_SLOW)),
                    };
                    // Whatever was stored before its batch has come before it.
                    self.reached.advance_to(&item.before);
                    let told = self.told(item.position, &item.recorded, item.standing.as_ref());
                    if told.is_some() {
                        return told;
                    }
                }
            }
        }
    }

    /// The next page; what its reader is told of it beside the events.
    async fn read(&mut self, stands: Stands) -> Option<Event> {
        let shutdown = self.shutdown.clone();
        let read = tokio::select! {
            read = self.page(stands) => read,
            () = shutdown.cancelled() => None,
        };
        let Some((live, turn, page)) = read else {
            return Some(self.over(STOPPING));
        };
        match page {
            Ok(page) => {
                self.unread = Page::new(page.events.into(), turn);
                match (page.end, &mut self.phase) {
                    (None, Phase::Reading { stands }) => *stands = page.place,
                    (end, _) => self.phase = Phase::Live { live, read: end },
                }
                self.looked_at = page.looked_at;
                None
            }
            Err(error) => {
                tracing::warn!(reason = chain(&error), "a feed cannot be read on");
                Some(self.over(UNREADABLE))
            }
        }
    }

    /// The next page, once it is this reader's turn.
    async fn page(
        &mut self,
        stands: Stands,
    ) -> Option<(Watch, Turn, Result<EventPage, ReadError>)> {
        let turn = match self.turn.take() {
            Some(first) => first,
            None => self.place.next_turn().await?,
        };
        // Before the page, so that nothing falls between the two.
        let watches = &self.feeds.watches;
        let live = watches.of_workspace(&self.filter.wanted.workspace);
        let page = self.reader.events(&self.filter.wanted, stands).await;
        Some((live, turn, page))
    }

    fn over(&mut self, why: &str) -> Event {
        self.over = true;
        Event::default().comment(why)
    }

    fn told(
        &mut self,
        position: Position,
        recorded: &Recorded,
        standing: Option<&Standing>,
    ) -> Option<Event> {
        if position.sequence <= self.reached.get(position.stream) {
            return None;
        }
        self.reached.advance(position);
        if !self.filter.admits(recorded, standing) {
            return None;
        }
        self.heartbeat = Instant::now() + HEARTBEAT;
        Some(message(&self.reached, position, recorded, self.payloads))
    }

    /// No event, but how far the reader is.
    fn here(&mut self, comment: &str) -> Event {
        self.heartbeat = Instant::now() + HEARTBEAT;
        Event::default()
            .id(self.reached.to_string())
            .comment(comment)
    }
}
