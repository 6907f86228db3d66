//! The stored events of a workspace, in the order in which they were stored, page by page.

use std::{collections::BTreeSet, sync::Arc};

use contracts::{
    event::EventName,
    ids::WorkspaceId,
    plan::Status,
    position::{Position, Positions},
    record::{Head, Recorded},
    subject::AggregateId,
    time::Timestamp,
};
use futures::TryStreamExt as _;
use journal::stored::Entry;
use sqlx::{QueryBuilder, Row as _, Sqlite, sqlite::SqliteRow};

use super::{ReadError, Reader, word};
use crate::database::{
    rows::Standing,
    write::{digest, raw, signed, unsigned},
};

/// Events of a page, and bytes of their payloads: what a reader that does not read holds on to.
const PAGE: usize = 64;
const PAGE_BYTES: usize = 512 * 1024;

/// Events of a workspace, or of one aggregate in it, that a page looks at, whatever it finds: some
/// milliseconds of one reading thread, which others wait for. What follows is another page. How far
/// that is takes as long to count, so it is counted again only once a page has come there.
pub const LOOKED_AT_MAX: u32 = 10_000;

/// Which events of a workspace.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub workspace: WorkspaceId,
    pub events: BTreeSet<EventName>,
    /// The id of an aggregate.
    pub aggregate: Option<String>,
    pub statuses: Option<BTreeSet<Status>>,
}

/// A place in the order in which events were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    ordinal: i64,
    /// To where pages look from there: counted once, and not anew by each page on the way.
    until: Option<i64>,
}

impl Place {
    const fn at(ordinal: i64) -> Self {
        let until = None;
        Self { ordinal, until }
    }
}

#[derive(Debug)]
pub struct Stored {
    pub position: Position,
    pub recorded: Recorded,
    pub standing: Option<Standing>,
}

/// Some events, and where what follows them begins.
#[derive(Debug)]
pub struct EventPage {
    pub events: Vec<Stored>,
    pub place: Place,
    /// The event at that place, if it was the last to be looked at: all of its stream up to it was.
    pub looked_at: Option<Position>,
    /// Up to where everything was read, if there is nothing more for now.
    pub end: Option<Positions>,
}

impl Reader {
    /// Where the events begin that are not covered by `after`; not all that follow need be
    /// beyond it.
    pub async fn place_after(&self, after: &Positions) -> Result<Place, ReadError> {
        let (mut snapshot, _) = self.snapshot().await?;
        let mut first = QueryBuilder::<Sqlite>::new("SELECT MIN(ordinal) FROM (");
        let mut each = first.separated(" UNION ALL ");
        for stream in &self.streams {
            each.push("SELECT * FROM (SELECT ordinal FROM events WHERE stream = ");
            each.push_bind_unseparated(stream.name());
            each.push_unseparated(" AND sequence > ");
            each.push_bind_unseparated(signed(after.get(*stream)));
            each.push_unseparated(" ORDER BY sequence LIMIT 1) AS one");
        }
        first.push(") AS firsts");
        let first: Option<i64> = first.build_query_scalar().fetch_one(&mut *snapshot).await?;
        Ok(match first {
            Some(first) => Place::at(first - 1),
            None => Place::at(last_ordinal(&mut snapshot).await?),
        })
    }

    /// Where the read model ends now.
    pub async fn end(&self) -> Result<(Place, Positions), ReadError> {
        let (mut snapshot, positions) = self.snapshot().await?;
        Ok((Place::at(last_ordinal(&mut snapshot).await?), positions))
    }

    /// The next events that are wanted. What cannot be read is left out.
    pub async fn events(&self, wanted: &Wanted, place: Place) -> Result<EventPage, ReadError> {
        let (mut snapshot, positions) = self.snapshot().await?;
        let end = last_ordinal(&mut snapshot).await?;
        let until = match place.until.filter(|until| *until > place.ordinal) {
            Some(until) => until,
            None => look_until(&mut snapshot, wanted, place)
                .await?
                .unwrap_or(end),
        };
        let mut query = filtered(wanted, place, until);
        let mut rows = query.build().fetch(&mut *snapshot);
        let mut page = EventPage {
            events: Vec::new(),
            place,
            looked_at: None,
            end: None,
        };
        let (mut bytes, mut count) = (0, 0);
        while bytes < PAGE_BYTES && count < PAGE {
            let Some(row) = rows.try_next().await? else {
                drop(rows);
                page.place = Place::at(until);
                if until < end {
                    page.looked_at = self.position_at(&mut snapshot, until).await?;
                } else {
                    page.end = Some(positions);
                }
                break;
            };
            page.place = Place {
                ordinal: row.try_get("ordinal")?,
                until: Some(until),
            };
            count += 1;
            if let Some((stored, size)) = self.stored(&row)? {
                bytes += size;
                page.events.push(stored);
            }
        }
        Ok(page)
    }

    /// What comes before an event of an aggregate; nothing where the read model does not have both,
    /// each once and in their order.
    pub async fn head_before(
        &self,
        aggregate: &AggregateId,
        Position { stream, sequence }: Position,
    ) -> Result<Option<Head>, ReadError> {
        // After a fork or a gap, all that is stored of an execution stands there as corrupt.
        let found: Option<(i64, Option<Vec<u8>>, Option<i64>)> = sqlx::query_as(
            "SELECT before.version, before.hash, before.time FROM events AS this \
             CROSS JOIN events AS before INDEXED BY events_of_aggregate \
             ON before.workspace = this.workspace AND before.aggregate = this.aggregate \
             AND before.ordinal < this.ordinal AND before.kind = this.kind \
             WHERE this.stream = ? AND this.sequence = ? AND this.workspace = ? \
             AND this.kind = ? AND this.aggregate = ? AND this.status <> 'corrupt' \
             AND before.version = this.version - 1 \
             ORDER BY before.ordinal DESC LIMIT 1",
        )
        .bind(stream.name())
        .bind(signed(sequence))
        .bind(aggregate.workspace().as_str())
        .bind(aggregate.kind().as_str())
        .bind(aggregate.id())
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.and_then(|(version, hash, time)| {
            Some(Head {
                version: unsigned(version),
                hash: digest(hash?)?,
                time: Timestamp::from_millis(time?),
            })
        }))
    }

    async fn position_at(
        &self,
        snapshot: &mut sqlx::SqliteConnection,
        ordinal: i64,
    ) -> Result<Option<Position>, ReadError> {
        let found: Option<(String, i64)> =
            sqlx::query_as("SELECT stream, sequence FROM events WHERE ordinal = ?")
                .bind(ordinal)
                .fetch_optional(snapshot)
                .await?;
        Ok(found.and_then(|(name, sequence)| {
            let stream = *self.streams.iter().find(|stream| stream.name() == name)?;
            let sequence = unsigned(sequence);
            Some(Position { stream, sequence })
        }))
    }

    fn stored(&self, row: &SqliteRow) -> Result<Option<(Stored, usize)>, ReadError> {
        let name: String = row.try_get("stream")?;
        let Some(&stream) = self.streams.iter().find(|stream| stream.name() == name) else {
            return Ok(None);
        };
        let position = Position {
            stream,
            sequence: unsigned(row.try_get("sequence")?),
        };
        let raw = raw(row)?;
        let size = raw.payload.len();
        let Ok(recorded) = Entry::new(position, raw).recorded else {
            return Ok(None);
        };
        let status: Option<String> = row.try_get("status")?;
        let requester: Option<String> = row.try_get("requester")?;
        let standing = status
            .map(|status| {
                Ok::<_, ReadError>(Standing {
                    status: word(status)?,
                    requester: requester
                        .map(|requester| serde_json::from_str(&requester))
                        .transpose()?
                        .map(Arc::new),
                })
            })
            .transpose()?;
        let stored = Stored {
            position,
            recorded,
            standing,
        };
        Ok(Some((stored, size)))
    }
}

async fn last_ordinal(snapshot: &mut sqlx::SqliteConnection) -> Result<i64, ReadError> {
    let last: Option<i64> = sqlx::query_scalar("SELECT MAX(ordinal) FROM events")
        .fetch_one(snapshot)
        .await?;
    Ok(last.unwrap_or(0))
}

/// The last place that pages from there look at; nothing where it looks at all there is.
async fn look_until(
    snapshot: &mut sqlx::SqliteConnection,
    wanted: &Wanted,
    place: Place,
) -> Result<Option<i64>, ReadError> {
    let mut query = QueryBuilder::new("SELECT ordinal");
    beyond(&mut query, wanted, place);
    query.push(" ORDER BY ordinal LIMIT 1 OFFSET ");
    query.push_bind(i64::from(LOOKED_AT_MAX - 1));
    Ok(query.build_query_scalar().fetch_optional(snapshot).await?)
}

/// What is looked at, in an index that holds all that is filtered by: which one is said, because
/// one by the names of events looks better to a planner that does not know how few are looked at.
fn beyond(query: &mut QueryBuilder<Sqlite>, wanted: &Wanted, place: Place) {
    query.push(" FROM events INDEXED BY ");
    query.push(match &wanted.aggregate {
        None => "events_by_workspace",
        Some(_) => "events_of_aggregate",
    });
    query.push(" WHERE workspace = ");
    query.push_bind(wanted.workspace.as_str());
    if let Some(aggregate) = &wanted.aggregate {
        query.push(" AND aggregate = ").push_bind(aggregate);
    }
    query.push(" AND ordinal > ").push_bind(place.ordinal);
}

fn filtered(wanted: &Wanted, place: Place, until: i64) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(
        "SELECT ordinal, stream, sequence, subject, headers, payload, status, requester",
    );
    beyond(&mut query, wanted, place);
    query.push(" AND ordinal <= ").push_bind(until);
    query.push(" AND fault IS NULL");
    if wanted.events.is_empty() {
        query.push(" AND 1 = 0");
    } else if wanted.events.len() < EventName::ALL.len() {
        query.push(" AND event IN (");
        let mut names = query.separated(", ");
        for event in &wanted.events {
            names.push_bind(event.as_str());
        }
        query.push(")");
    }
    if let Some(statuses) = &wanted.statuses {
        query.push(" AND status IN (");
        let mut words = query.separated(", ");
        for status in statuses {
            words.push_bind(status.as_str());
        }
        query.push(")");
    }
    query.push(" ORDER BY ordinal");
    query
}
