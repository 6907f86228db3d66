//! The feed of one execution: its history from the log itself, page by page, then what comes.
//!
//! A reader holds a page and what has come since it read the last one, however long the history is.

use std::{convert::Infallible, sync::Arc};

use axum::{
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event as Message, KeepAlive, Sse},
    },
};
use contracts::{
    event::Event,
    ids::ExecutionId,
    plan::Status,
    position::{Position, Positions},
    problem::{Code, Problem},
    record::{Head, Recorded},
    registry::FeedName,
    subject::AggregateId,
};
use domain::trace::Payloads;
use futures::stream;
use host::{aggregate::known, engine::Host, http::Refused, principals::Principal};
use tokio::time::sleep;

use super::{
    Feeds, HEARTBEAT, TOO_SLOW, UNREADABLE,
    credential::{CHECK_EVERY, Credential},
    message,
    page::Page,
    payloads,
    places::{Place, Turn},
    watch::{FellBehind, Told, Watch},
};
use crate::{
    api::{Api, unreadable},
    database::read::Reader,
    log,
};

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
    let place = api.feeds.places.take(principal, &api.host.metrics)?;
    if !api.reached.covers(&after) {
        log::is_reached(&api.host, &after).await?;
    }
    let mut feed = Feed {
        host: Arc::clone(&api.host),
        reader: api.reader.clone(),
        feeds: Arc::clone(&api.feeds),
        aggregate: AggregateId::execution(principal.workspace.clone(), execution),
        phase: Phase::Reading,
        after,
        unread: Page::empty(),
        head: None,
        ended: false,
        over: false,
        payloads: payloads(principal),
        credential: Credential::of(api, principal, headers),
        place,
    };
    let shutdown = feed.host.shutdown.clone();
    tokio::select! {
        begun = feed.begin() => begun?,
        () = shutdown.cancelled() => return Err(Problem::of(Code::ServiceUnavailable).into()),
    }
    if feed.head.is_none() {
        return Err(Problem::of(Code::ExecutionNotFound).into());
    }
    if feed.unread.is_empty() && feed.ended {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let events = stream::unfold(feed, async |mut feed| {
        let event = feed.next().await?;
        Some((Ok::<_, Infallible>(event), feed))
    });
    let heartbeat = KeepAlive::new().interval(HEARTBEAT).text("heartbeat");
    Ok(Sse::new(events).keep_alive(heartbeat).into_response())
}

/// One reader.
struct Feed {
    host: Arc<Host>,
    reader: Reader,
    feeds: Arc<Feeds>,
    aggregate: AggregateId,
    /// What is not beyond it was told before.
    after: Positions,
    phase: Phase,
    /// Of the last page.
    unread: Page<(Position, Recorded)>,
    /// Of the last event that was read.
    head: Option<Head>,
    /// Whether the execution has ended with it.
    ended: bool,
    /// Whether nothing more is told.
    over: bool,
    payloads: Payloads,
    credential: Credential,
    place: Place,
}

enum Phase {
    /// What follows the head was not read.
    Reading,
    /// The history was read, and what comes is received.
    Live(Watch),
}

impl Feed {
    fn is_reading(&self) -> bool {
        matches!(self.phase, Phase::Reading)
    }

    /// To what is not told yet: what is wrong up to there is an answer of its own.
    async fn begin(&mut self) -> Result<(), Problem> {
        let mut turn = self.place.first_turn().await?;
        self.head = self.told_before().await?;
        loop {
            self.read(turn).await?;
            if !self.unread.is_empty() || !self.is_reading() {
                return Ok(());
            }
            turn = self.place.first_turn().await?;
        }
    }

    /// What comes before the last event that was told, so that a reader who comes again has the log
    /// read from there; that one is read again, as it may be what ends the execution.
    async fn told_before(&mut self) -> Result<Option<Head>, Problem> {
        let stream = self.host.journal.stream_count().stream_of(&self.aggregate);
        let sequence = self.after.get(stream);
        let told = Position { stream, sequence };
        let before = self.reader.head_before(&self.aggregate, told).await;
        before.map_err(|error| unreadable(&error))
    }

    /// Nothing once it is over, or its reader may not read on.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if self.over || !self.credential.stands().await {
                return None;
            }
            match self.unread.pop() {
                Ok(None) => {}
                Ok(Some((position, recorded))) => return Some(self.shown(position, &recorded)),
                Err(FellBehind) => return Some(self.over(TOO_SLOW)),
            }
            let shutdown = self.host.shutdown.clone();
            let received = match &mut self.phase {
                Phase::Reading => {
                    let read = tokio::select! {
                        read = self.read_on() => read,
                        () = shutdown.cancelled() => return None,
                    };
                    if let Err(problem) = read {
                        tracing::warn!(code = %problem.code, "a feed cannot be read on");
                        return Some(self.over(UNREADABLE));
                    }
                    continue;
                }
                Phase::Live(_) if self.ended => return None,
                Phase::Live(live) => tokio::select! {
                    received = live.next() => received,
                    // As often as it is looked whether the credential stands.
                    () = sleep(CHECK_EVERY) => continue,
                    () = shutdown.cancelled() => return None,
                },
            };
            // It may have been taken back while nothing came.
            if !self.credential.stands().await {
                return None;
            }
            match received {
                Ok(item) => {
                    if let Some(shown) = self.told(&item) {
                        return Some(shown);
                    }
                }
                Err(FellBehind) => return Some(self.over(TOO_SLOW)),
            }
        }
    }

    fn over(&mut self, why: &str) -> Message {
        self.over = true;
        Message::default().comment(why)
    }

    /// The next page, once it is this reader's turn.
    async fn read_on(&mut self) -> Result<(), Problem> {
        match self.place.next_turn().await {
            Some(turn) => self.read(turn).await,
            None => Ok(()),
        }
    }

    /// The next page of the history.
    async fn read(&mut self, turn: Turn) -> Result<(), Problem> {
        // Before the page, so that nothing falls between the two.
        let live = self.feeds.watches.of_execution(&self.aggregate);
        let page = self.host.journal.page(&self.aggregate, self.head.as_ref());
        let page = page.await.map_err(log::refusal)?;
        let understood = page.events.iter().try_for_each(|(_, event)| known(event));
        understood.map_err(log::refusal)?;
        if let Some((_, last)) = page.events.last() {
            self.head = Some(last.head());
            self.ended = ends(&last.event);
        }
        let after = &self.after;
        let is_untold = |position: &Position| position.sequence > after.get(position.stream);
        let events = page.events.into_iter();
        let untold = events.filter(|(position, _)| is_untold(position));
        self.unread = Page::new(untold.collect(), turn);
        if page.is_last {
            self.ended |= self.is_corrupt().await?;
            self.phase = Phase::Live(live);
        }
        Ok(())
    }

    /// Whether the read model has found that the history does not hold together: nothing follows.
    async fn is_corrupt(&self) -> Result<bool, Problem> {
        let found = self.reader.status(&self.aggregate).await;
        let status = found.map_err(|error| unreadable(&error))?;
        Ok(status == Some(Status::Corrupt))
    }

    /// What the history had already is not told again, and may be what ends it. What does not follow
    /// it is read from the log, with all that is before it.
    fn told(&mut self, item: &Told) -> Option<Message> {
        let status = item.standing.as_ref().map(|standing| standing.status);
        let head = item.recorded.head();
        let read = self.head.as_ref().map_or(0, |head| head.version);
        if head.version < read {
            return None;
        }
        if head.version > read + 1 {
            // Something has not come: the id would move past it for good.
            self.phase = Phase::Reading;
            return None;
        }
        self.ended = status.is_none_or(Status::is_terminal);
        if head.version == read {
            return None;
        }
        self.head = Some(head);
        Some(self.shown(item.position, &item.recorded))
    }

    /// One execution is in one stream, so that its own position is enough to go on.
    fn shown(&self, position: Position, recorded: &Recorded) -> Message {
        message(&position.into(), position, recorded, self.payloads)
    }
}

/// Whether nothing follows an event but a retry, in a history that holds together.
fn ends(event: &Event) -> bool {
    if let Event::PlanRejected(rejected) = event {
        return rejected.is_final;
    }
    matches!(
        event,
        Event::ExecutionCompleted(_) | Event::ExecutionFailed(_)
    )
}
