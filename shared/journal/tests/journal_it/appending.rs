//! Writing, and loading what was written.

use std::sync::Arc;

use bytes::Bytes;
use contracts::{
    canonical::Digest,
    envelope::{Envelope, Headers},
    event::EventName,
    ids::EventId,
    position::Position,
    record::{Head, Recorded},
    subject::AggregateId,
};
use futures::future::join_all;
use journal::{
    Journal,
    append::AppendError,
    history::{Fault, LoadError, PAGE_BYTES, PAGE_EVENTS_MAX, Read},
    object::ObjectError,
    stored::Raw,
};
use uuid::Uuid;

use crate::{
    samples::{KINDS, caused, execution, history, sealed},
    world::World,
};

pub async fn of_64_writers_of_one_version_one_wins(world: &World) {
    let aggregate = execution();
    let mut head = None;
    let journals = [world.journal().await, world.journal().await];
    for _version in 1..=3 {
        let writers = (0..64).map(|writer: usize| {
            let kind = KINDS[writer % KINDS.len()];
            let (envelope, recorded) = sealed(&aggregate, head.as_ref(), kind, &writer.to_string());
            let journal = Arc::clone(&journals[writer % 2]);
            async move { (journal.append(&envelope).await, recorded) }
        });
        let mut won = Vec::new();
        for (result, recorded) in join_all(writers).await {
            match result {
                Ok(_) => won.push(recorded),
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(won.len(), 1);
        head = Some(won[0].head());
        let stored = journals[0].load(&aggregate, Read::Confirmed).await.unwrap();
        assert_eq!(stored.last().map(|(_, event)| event), won.first());
    }
}

pub async fn an_append_that_is_repeated_is_recognised_by_its_bytes(world: &World) {
    let (journal, other) = (world.journal().await, world.journal().await);
    let aggregate = execution();
    let events = history(&aggregate, 3);
    for envelope in &events {
        if let World::Memory(memory) = world {
            memory.lose_answers(1);
            let unknown = journal.append(envelope).await;
            assert!(matches!(unknown, Err(AppendError::Unavailable { .. })));
        }
        let first = journal.append(envelope).await.unwrap();
        assert_eq!(journal.append(envelope).await.unwrap(), first);
        assert_eq!(other.append(envelope).await.unwrap(), first);
    }
    // Also when others have followed.
    let again = other.append(&events[0]).await.unwrap();
    let stored = journal.load(&aggregate, Read::Confirmed).await.unwrap();
    assert_eq!(stored.len(), 3);
    assert_eq!(stored[0].0, again);
}

pub async fn the_same_event_id_of_another_writer_is_a_conflict(world: &World) {
    let journal = world.journal().await;
    let aggregate = execution();
    let cause = EventId::of(Uuid::new_v4());
    let kind = EventName::CancelRequested;
    let (mine, recorded) = caused(&aggregate, None, kind, "mine", cause);
    let (theirs, also) = caused(&aggregate, None, kind, "theirs", cause);
    assert_eq!(recorded.id(), also.id());
    journal.append(&theirs).await.unwrap();
    let refused = journal.append(&mine).await;
    assert!(matches!(refused, Err(AppendError::Conflict { .. })));
}

pub async fn the_same_event_id_in_two_workspaces_is_two_events(world: &World) {
    let journal = world.journal().await;
    let id = contracts::ids::ExecutionId::of(Uuid::new_v4());
    let cause = EventId::of(Uuid::new_v4());
    let mut positions = Vec::new();
    let mut ids = Vec::new();
    for name in ["acme", "globex"] {
        let aggregate =
            contracts::subject::AggregateId::execution(crate::samples::workspace(name), id);
        let (sealed, recorded) = caused(&aggregate, None, EventName::Paused, "same", cause);
        let mut attributes = recorded.attributes;
        attributes.id = EventId::of(id.uuid());
        let envelope = Envelope {
            headers: attributes.to_headers(),
            ..sealed
        };
        positions.push(journal.append(&envelope).await.unwrap());
        let stored = journal.load(&aggregate, Read::Confirmed).await.unwrap();
        assert_eq!(stored.len(), 1);
        ids.push(stored[0].1.id());
    }
    assert_ne!(positions[0], positions[1]);
    assert_eq!(ids[0], ids[1]);
}

pub async fn a_first_version_is_refused_where_later_ones_are(world: &World) {
    let journal = world.journal().await;
    let aggregate = execution();
    let events = history(&aggregate, 2);
    journal.append(&events[1]).await.unwrap();
    let refused = journal.append(&events[0]).await;
    assert!(matches!(refused, Err(AppendError::Conflict { .. })));
}

pub async fn several_events_are_stored_up_to_the_first_that_is_refused(world: &World) {
    let journal = world.journal().await;
    let aggregate = execution();
    let events = history(&aggregate, 4);
    let (other, _) = sealed(&aggregate, None, EventName::Paused, "other");
    let mut foreign = events.clone();
    foreign[2] = other;
    let failed = journal.append_all(&foreign).await.unwrap_err();
    assert_eq!(failed.stored.len(), 2);
    assert!(matches!(failed.source, AppendError::Conflict { .. }));
    let stored = journal.append_all(&events).await.unwrap();
    assert_eq!(stored.len(), 4);
    assert_eq!(&stored[..2], &failed.stored[..]);
}

pub async fn an_aggregate_of_2000_events_loads(world: &World) {
    let journal = world.journal().await;
    let aggregate = execution();
    let written = journal
        .append_all(&history(&aggregate, 2000))
        .await
        .unwrap();
    for read in [Read::Nearest, Read::Confirmed] {
        let stored = journal.load(&aggregate, read).await.unwrap();
        let positions: Vec<Position> = stored.into_iter().map(|(position, _)| position).collect();
        if read == Read::Confirmed {
            assert_eq!(positions, written);
        } else {
            assert!(positions.len() >= 1900);
        }
    }
    let (position, head) = journal.head(&aggregate).await.unwrap().unwrap();
    assert_eq!((position, head.version), (written[1999], 2000));
}

pub async fn an_unknown_aggregate_is_empty_for_certain(world: &World) {
    let journal = world.journal().await;
    let aggregate = execution();
    assert!(
        journal
            .load(&aggregate, Read::Nearest)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        journal
            .load(&aggregate, Read::Confirmed)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(journal.head(&aggregate).await.unwrap().is_none());
}

pub async fn a_confirmed_read_has_the_last_event(world: &World) {
    let (writer, reader) = (world.journal().await, world.journal().await);
    let aggregate = execution();
    if let World::Memory(memory) = world {
        memory.lag(1);
    }
    for (index, envelope) in history(&aggregate, 20).iter().enumerate() {
        writer.append(envelope).await.unwrap();
        let stored = reader.load(&aggregate, Read::Confirmed).await.unwrap();
        assert_eq!(stored.len(), index + 1);
        let (_, head) = reader.head(&aggregate).await.unwrap().unwrap();
        assert_eq!(head, stored[index].1.head());
    }
    if let World::Memory(memory) = world {
        assert_eq!(
            reader.load(&aggregate, Read::Nearest).await.unwrap().len(),
            19
        );
        memory.lag(0);
    }
}

pub async fn a_hole_and_a_broken_chain_are_faults(world: &World) {
    let journal = world.journal().await;
    let aggregate = execution();
    let events = history(&aggregate, 4);
    journal.append_all(&events[..2]).await.unwrap();
    journal.append(&events[3]).await.unwrap();
    // A replica may not have the last one yet.
    let hole = journal.load(&aggregate, Read::Confirmed).await.unwrap_err();
    assert!(matches!(
        hole,
        LoadError::Corrupt {
            fault: Fault::Hole {
                expected: 3,
                found: 4
            },
            ..
        }
    ));

    let aggregate = execution();
    let first = history(&aggregate, 1);
    let other = history(&aggregate, 2);
    journal.append(&first[0]).await.unwrap();
    journal.append(&other[1]).await.unwrap();
    let broken = journal.load(&aggregate, Read::Confirmed).await.unwrap_err();
    assert!(matches!(
        broken,
        LoadError::Corrupt {
            fault: Fault::Chain { version: 2 },
            ..
        }
    ));
}

/// Its events page by page, and what a page holds.
async fn by_pages(
    journal: &dyn Journal,
    aggregate: &AggregateId,
) -> (Vec<(Position, Recorded)>, Vec<usize>) {
    let (mut all, mut lengths) = (Vec::<(Position, Recorded)>::new(), Vec::new());
    loop {
        let head = all.last().map(|(_, recorded)| recorded.head());
        let page = journal.page(aggregate, head.as_ref()).await.unwrap();
        assert!(page.is_last || !page.events.is_empty());
        lengths.push(page.events.len());
        all.extend(page.events);
        if page.is_last {
            return (all, lengths);
        }
    }
}

pub async fn a_history_is_read_in_pages_of_some_events_and_bytes(world: &World) {
    let journal = world.journal().await;
    let unknown = journal.page(&execution(), None).await.unwrap();
    assert!(unknown.events.is_empty() && unknown.is_last);

    let (many, count) = (execution(), 3 * PAGE_EVENTS_MAX);
    journal.append_all(&history(&many, count)).await.unwrap();
    let whole = journal.load(&many, Read::Confirmed).await.unwrap();
    let (all, lengths) = by_pages(&*journal, &many).await;
    assert_eq!(all, whole);
    assert!(lengths.iter().all(|length| *length <= PAGE_EVENTS_MAX));

    // Few are large, kept in their places and apart, and no page holds more than one too many.
    let large = execution();
    let (mut head, mut envelopes) = (None::<Head>, Vec::new());
    for number in 0..24 {
        let bytes = if number % 6 == 5 { 400_000 } else { 150_000 };
        let text = "x".repeat(bytes);
        let (envelope, recorded) = sealed(&large, head.as_ref(), EventName::Paused, &text);
        head = Some(recorded.head());
        envelopes.push(envelope);
    }
    journal.append_all(&envelopes).await.unwrap();
    let whole = journal.load(&large, Read::Confirmed).await.unwrap();
    let (all, lengths) = by_pages(&*journal, &large).await;
    assert_eq!(all, whole);
    let largest = lengths.iter().max().unwrap();
    assert!(*largest <= PAGE_BYTES / 150_000 + 1, "{lengths:?}");

    // What does not follow the head that is named is a fault.
    let other = all[3].1.head();
    let wrong = Head {
        hash: other.hash,
        ..all[4].1.head()
    };
    let fault = journal.page(&large, Some(&wrong)).await.unwrap_err();
    assert!(matches!(fault, LoadError::Corrupt { .. }), "{fault}");

    // Nor is another event than the last one taken for it.
    let head = all.last().unwrap().1.head();
    let end = journal.page(&large, Some(&head)).await.unwrap();
    assert!(end.events.is_empty() && end.is_last);
    let wrong = Head {
        hash: other.hash,
        ..head
    };
    let fault = journal.page(&large, Some(&wrong)).await.unwrap_err();
    let LoadError::Corrupt { fault, .. } = fault else {
        panic!("{fault}");
    };
    let version = head.version;
    assert_eq!(fault, Fault::Forked { version });
}

pub async fn an_event_of_a_newer_version_is_not_poison(world: &World) {
    let journal = world.journal().await;
    let aggregate = execution();
    let envelope = &history(&aggregate, 1)[0];
    journal.append(envelope).await.unwrap();
    let raw = Raw {
        subject: format!("{}.2.plan.dreamed", aggregate.prefix()),
        ..Raw::from(envelope)
    };
    store_raw(world, &aggregate, raw).await;
    let newer = journal.load(&aggregate, Read::Confirmed).await.unwrap_err();
    assert!(matches!(newer, LoadError::Newer { .. }));
}

pub async fn a_large_payload_is_kept_apart_and_comes_back(world: &World) {
    let journal = world.journal().await;
    let aggregate = execution();
    let text = "x".repeat(1_300_000);
    let (first, one) = sealed(&aggregate, None, EventName::Paused, &text);
    let (second, two) = sealed(
        &aggregate,
        Some(&one.head()),
        EventName::CancelRequested,
        "small",
    );
    assert!(one.attributes.data_ref.is_some());
    let positions = journal.append_all(&[first.clone(), second]).await.unwrap();
    assert_eq!(journal.append(&first).await.unwrap(), positions[0]);
    let stored = journal.load(&aggregate, Read::Confirmed).await.unwrap();
    assert_eq!(stored[0].1, one);
    assert_eq!(stored[1].1, two);
    let at = positions[0];
    let entries = journal.read(at.stream, at.sequence - 1, 1).await.unwrap();
    assert_eq!(entries[0].raw.payload, first.payload);
    assert_eq!(entries[0].recorded.as_ref().unwrap(), &one);

    // A writer that forgot to set it apart is told so.
    let mut attributes = one.attributes;
    attributes.data_ref = None;
    let unsealed = Envelope {
        headers: attributes.to_headers(),
        ..first
    };
    let refused = journal.append(&unsealed).await;
    assert!(matches!(refused, Err(AppendError::NotClaimChecked { .. })));
}

pub async fn objects_are_kept_under_their_digest(world: &World) {
    let journal = world.journal().await;
    let seed = Uuid::new_v4().into_bytes();
    let bytes: Bytes = seed.iter().copied().cycle().take(3_000_001).collect();
    let digest = journal.put_object(bytes.clone()).await.unwrap();
    assert_eq!(digest, Digest::of(&bytes));
    assert_eq!(journal.put_object(bytes.clone()).await.unwrap(), digest);
    assert_eq!(journal.get_object(&digest).await.unwrap(), bytes);
    let nowhere = Digest::of(b"nowhere");
    let missing = journal.get_object(&nowhere).await;
    assert!(matches!(missing, Err(ObjectError::Missing(digest)) if digest == nowhere));
    let empty = journal.put_object(Bytes::new()).await.unwrap();
    assert!(journal.get_object(&empty).await.unwrap().is_empty());
}

/// Stores what no writer of this version would store.
pub async fn store_raw(world: &World, aggregate: &contracts::subject::AggregateId, raw: Raw) {
    let Some(client) = world.raw_client().await else {
        let World::Memory(memory) = world else {
            panic!("only memory has no client");
        };
        let stream = world.journal().await.stream_count().stream_of(aggregate);
        memory.store_raw(stream, raw);
        return;
    };
    let mut headers = async_nats::HeaderMap::new();
    let checked = Headers::from_wire(raw.headers.iter().map(|(name, value)| (name, value)));
    for (name, value) in checked.unwrap().iter() {
        headers.insert(name, value);
    }
    let stored = client
        .request_with_headers(raw.subject, headers, raw.payload)
        .await
        .unwrap();
    assert!(!String::from_utf8_lossy(&stored.payload).contains("error"));
}
