//! Feeds of a workspace: the stored events from where the reader goes on, page by page, then what
//! comes.
//!
//! A page looks at no more than so many events, however few of them are wanted; after each the
//! reader hears how far it is, so that it knows that there is someone, and need not begin again.
//!
//! The reader's place is a set of positions: all of the workspace up to it was told. Events are
//! stored and told in the order of their streams, so one that is beyond the place in its stream is
//! new, and any other was told before; that holds at the joint of both parts as within each.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use axum::{
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
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
    Feeds, HEARTBEAT, TOO_SLOW, UNREADABLE,
    credential::{CHECK_EVERY, Credential},
    message, payloads,
    places::{CatchingUp, Place},
    watch::{FellBehind, Watch},
};
use crate::{
    api::{Api, unreadable},
    database::{
        read::{
            Reader,
            events::{Place as Stands, Stored, Wanted},
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
    let catching_up = place.catch_up().await?;
    let found = match after {
        Some(after) => api.reader.place_after(&after).await.map(|at| (at, after)),
        None => api.reader.end().await,
    };
    let (stands, reached) = found.map_err(|error| unreadable(&error))?;
    let feed = Feed {
        reader: api.reader.clone(),
        feeds: Arc::clone(&api.feeds),
        filter,
        reached,
        phase: Phase::Reading {
            stands,
            _catching_up: catching_up,
        },
        unread: VecDeque::new(),
        looked_at: None,
        greeted: false,
        over: false,
        heartbeat: Instant::now() + HEARTBEAT,
        payloads: payloads(principal),
        credential: Credential::of(api, principal, headers),
        shutdown: api.host.shutdown.clone(),
        _place: place,
    };
    let events = stream::unfold(feed, async |mut feed| {
        let event = feed.next().await?;
        Some((Ok::<_, Infallible>(event), feed))
    });
    Ok(Sse::new(events).into_response())
}

/// One reader.
struct Feed {
    reader: Reader,
    feeds: Arc<Feeds>,
    filter: Filter,
    /// All before it was told.
    reached: Positions,
    phase: Phase,
    /// Of the last page.
    unread: VecDeque<Stored>,
    /// To where the last page has looked, beyond what it found; told once that is read.
    looked_at: Option<Position>,
    greeted: bool,
    over: bool,
    heartbeat: Instant,
    payloads: Payloads,
    credential: Credential,
    shutdown: CancellationToken,
    _place: Place,
}

enum Phase {
    /// What is stored from here on was not read.
    Reading {
        stands: Stands,
        _catching_up: CatchingUp,
    },
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
            if let Some(stored) = self.unread.pop_front() {
                let told = self.told(stored.position, &stored.recorded, stored.standing.as_ref());
                if told.is_some() {
                    return told;
                }
                continue;
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
                Phase::Reading { stands, .. } => {
                    let stands = *stands;
                    if let Some(said) = self.read(stands).await {
                        return Some(said);
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
                        Err(FellBehind) => {
                            self.over = true;
                            return Some(Event::default().comment(TOO_SLOW));
                        }
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
        // Before the page, so that nothing falls between the two.
        let watches = &self.feeds.watches;
        let live = watches.of_workspace(&self.filter.wanted.workspace);
        let read = tokio::select! {
            read = self.reader.events(&self.filter.wanted, stands) => read,
            () = self.shutdown.cancelled() => {
                self.over = true;
                return Some(Event::default().comment("stopping"));
            }
        };
        match read {
            Ok(page) => {
                self.unread = page.events.into();
                match (page.end, &mut self.phase) {
                    (None, Phase::Reading { stands, .. }) => *stands = page.place,
                    (end, _) => self.phase = Phase::Live { live, read: end },
                }
                self.looked_at = page.looked_at;
                None
            }
            Err(error) => {
                tracing::warn!(reason = chain(&error), "a feed cannot be read on");
                self.over = true;
                Some(Event::default().comment(UNREADABLE))
            }
        }
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
