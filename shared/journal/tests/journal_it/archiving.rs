//! What is read of both tiers, wherever the boundary between them is.

use contracts::{
    event::EventName,
    position::{Position, Positions, StreamId},
    record::Head,
    subject::AggregateId,
};
use journal::{
    Journal,
    history::{Fault, LoadError, Read},
    tail::{Scope, Tail},
};

use crate::{
    samples::{execution, history, sealed},
    world::{World, soon},
};

/// An execution whose events are in this stream.
pub fn execution_in(journal: &dyn Journal, stream: StreamId) -> AggregateId {
    loop {
        let aggregate = execution();
        if journal.stream_count().stream_of(&aggregate) == stream {
            return aggregate;
        }
    }
}

/// Writes others' events, so that whatever was written before can be archived.
pub async fn write_on(journal: &dyn Journal, stream: StreamId, events: usize) {
    let filler = execution_in(journal, stream);
    journal.append_all(&history(&filler, events)).await.unwrap();
}

/// An execution of so many events, of which all up to some version is archived and purged.
async fn split(world: &World, events: usize, archived: usize) -> (AggregateId, Vec<Position>) {
    let journal = world.journal().await;
    let aggregate = execution();
    let stream = journal.stream_count().stream_of(&aggregate);
    let envelopes = history(&aggregate, events);
    let mut positions = journal.append_all(&envelopes[..archived]).await.unwrap();
    let window = usize::try_from(World::window()).unwrap();
    write_on(&*journal, stream, window).await;
    let purged = world.archive(stream).await;
    assert!(purged >= positions.last().unwrap().sequence);
    let rest = journal.append_all(&envelopes[archived..]).await.unwrap();
    positions.extend(rest);
    (aggregate, positions)
}

async fn is_live(world: &World, position: Position) -> bool {
    position.sequence > world.purged(position.stream).await
}

/// An aggregate page by page.
pub async fn paged(journal: &dyn Journal, aggregate: &AggregateId) -> Vec<Position> {
    let (mut read, mut after): (Vec<Position>, Option<Head>) = (Vec::new(), None);
    loop {
        let page = journal.page(aggregate, after.as_ref()).await.unwrap();
        assert!(page.is_last || !page.events.is_empty());
        after = page.events.last().map(|(_, event)| event.head()).or(after);
        read.extend(page.events.iter().map(|(position, _)| *position));
        if page.is_last {
            return read;
        }
    }
}

async fn loaded(journal: &dyn Journal, aggregate: &AggregateId, read: Read) -> Vec<Position> {
    let events = journal.load(aggregate, read).await.unwrap();
    events.into_iter().map(|(position, _)| position).collect()
}

pub async fn an_aggregate_loads_whole_wherever_the_boundary_is(world: &World) {
    let journal = world.journal().await;
    for archived in [1, 3, 5] {
        let (aggregate, positions) = split(world, 5, archived).await;
        assert!(!is_live(world, positions[archived - 1]).await);
        assert!(archived == 5 || is_live(world, positions[archived]).await);
        assert_eq!(
            loaded(&*journal, &aggregate, Read::Confirmed).await,
            positions
        );
        // A replica may be behind, and never out of order.
        let near = loaded(&*journal, &aggregate, Read::Nearest).await;
        assert!(positions.starts_with(&near) && near.len() >= archived);
        let (position, head) = journal.head(&aggregate).await.unwrap().unwrap();
        assert_eq!((position, head.version), (positions[4], 5));
        assert!(journal.is_archived(&aggregate).await.unwrap());
        let confirmed = journal.load(&aggregate, Read::Confirmed).await.unwrap();
        assert_eq!(confirmed[4].1.head(), head);
    }
}

pub async fn what_is_nowhere_is_in_no_tier(world: &World) {
    let journal = world.journal().await;
    let (_, positions) = split(world, 2, 1).await;
    let unknown = execution_in(&*journal, positions[0].stream);
    for read in [Read::Nearest, Read::Confirmed] {
        assert!(journal.load(&unknown, read).await.unwrap().is_empty());
    }
    assert!(journal.head(&unknown).await.unwrap().is_none());
    assert!(!journal.is_archived(&unknown).await.unwrap());
    let page = journal.page(&unknown, None).await.unwrap();
    assert!(page.events.is_empty() && page.is_last);
}

pub async fn pages_go_from_one_tier_to_the_other(world: &World) {
    let journal = world.journal().await;
    for (events, archived) in [(150, 100), (70, 70), (3, 2)] {
        let (aggregate, positions) = split(world, events, archived).await;
        assert_eq!(paged(&*journal, &aggregate).await, positions);
        let after = journal
            .head(&aggregate)
            .await
            .unwrap()
            .map(|(_, head)| head);
        let again = journal.page(&aggregate, after.as_ref()).await.unwrap();
        assert!(again.events.is_empty() && again.is_last);
        let other = Head {
            hash: contracts::canonical::Digest::of(b"another event"),
            ..after.unwrap()
        };
        let forked = journal.page(&aggregate, Some(&other)).await;
        assert!(matches!(forked, Err(LoadError::Corrupt { .. })));
    }
}

pub async fn reading_goes_through_both_tiers_and_leaves_nothing_out(world: &World) {
    let journal = world.journal().await;
    let (_, positions) = split(world, 6, 4).await;
    let stream = positions[0].stream;
    let (purged, end) = (
        world.purged(stream).await,
        journal.last_sequence(stream).await.unwrap(),
    );
    assert!(purged > 0 && purged < end);
    for batch in [1, 7, 1_000] {
        let (mut after, mut seen) = (0, Vec::new());
        while after < end {
            let entries = journal.read(stream, after, batch).await.unwrap();
            assert!(entries.len() <= batch);
            for entry in entries {
                assert!(entry.stored_at.is_some());
                after = entry.position.sequence;
                seen.push(after);
            }
        }
        assert_eq!(seen, (1..=end).collect::<Vec<_>>());
        assert!(journal.read(stream, end, batch).await.unwrap().is_empty());
    }
}

async fn takes(tail: &mut dyn Tail, events: usize) -> Vec<Position> {
    let mut seen = Vec::new();
    while seen.len() < events {
        seen.push(soon(tail.next()).await.position);
    }
    seen
}

pub async fn a_tail_begins_in_the_archive_and_goes_on_live(world: &World) {
    let journal = world.journal().await;
    let (aggregate, positions) = split(world, 6, 4).await;
    let stream = positions[0].stream;
    let end = journal.last_sequence(stream).await.unwrap();
    let mut from = Positions::beginning();
    for other in journal.streams().into_iter().filter(|it| *it != stream) {
        let sequence = journal.last_sequence(other).await.unwrap();
        from.advance(Position {
            stream: other,
            sequence,
        });
    }
    let mut everything = journal.tail(&from, Scope::Everything).await.unwrap();
    let seen = takes(&mut *everything, usize::try_from(end).unwrap()).await;
    let sequences: Vec<_> = seen.iter().map(|position| position.sequence).collect();
    assert_eq!(sequences, (1..=end).collect::<Vec<_>>());

    let scope = Scope::Aggregate(aggregate.clone());
    for after in 0..positions.len() {
        let from = after.checked_sub(1).map(|index| positions[index].into());
        let from = from.unwrap_or_else(Positions::beginning);
        let mut tail = journal.tail(&from, scope.clone()).await.unwrap();
        assert_eq!(takes(&mut *tail, 6 - after).await, positions[after..]);
    }
    let mut tail = journal.tail(&positions[5].into(), scope).await.unwrap();
    let head = journal.head(&aggregate).await.unwrap().unwrap().1;
    let (envelope, _) = sealed(&aggregate, Some(&head), EventName::Paused, "");
    let position = journal.append(&envelope).await.unwrap();
    assert_eq!(takes(&mut *tail, 1).await, [position]);
    assert_eq!(takes(&mut *everything, 1).await, [position]);
}

/// `log.md` §2: a purged version's guard passes again, which is why no writer appends on an old fold.
pub async fn an_append_on_a_purged_version_is_stored_and_found_out(world: &World) {
    let journal = world.journal().await;
    let (aggregate, positions) = split(world, 4, 3).await;
    let events = journal.load(&aggregate, Read::Confirmed).await.unwrap();
    let (second, _) = sealed(
        &aggregate,
        Some(&events[0].1.head()),
        EventName::Paused,
        "2'",
    );
    let forged = journal.append(&second).await.unwrap();
    assert!(forged > positions[3]);
    for read in [Read::Nearest, Read::Confirmed] {
        let loaded = async {
            loop {
                // A replica may be behind.
                match journal.load(&aggregate, read).await {
                    Ok(_) => tokio::task::yield_now().await,
                    Err(error) => return error,
                }
            }
        };
        let LoadError::Corrupt { fault, .. } = soon(loaded).await else {
            panic!("the history is not corrupt");
        };
        assert_eq!(fault, Fault::Forked { version: 2 });
    }
    // It stays so when that, too, is archived.
    write_on(
        &*journal,
        forged.stream,
        usize::try_from(World::window()).unwrap(),
    )
    .await;
    assert!(world.archive(forged.stream).await >= forged.sequence);
    let archived = journal.load(&aggregate, Read::Confirmed).await;
    let Err(LoadError::Corrupt { fault, .. }) = archived else {
        panic!("the history is not corrupt");
    };
    assert_eq!(fault, Fault::Forked { version: 2 });
    // Where nothing of it is live, the first version's guard passes too: whoever has not loaded asks.
    let (aggregate, _) = split(world, 2, 2).await;
    let (first, _) = sealed(&aggregate, None, EventName::Paused, "1'");
    assert!(journal.is_archived(&aggregate).await.unwrap());
    journal.append(&first).await.unwrap();
}
