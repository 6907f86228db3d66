//! What is live and what is archived, as readers and guards see it.

use contracts::position::StreamId;

use super::{State, Stored};

impl State {
    /// What is stored on subjects that begin so, in the order of sequences.
    pub fn beginning_with(&self, prefix: &str) -> Vec<(u64, &Stored)> {
        let archived = self.archived.range((prefix.to_owned(), 0)..);
        let archived = archived.take_while(|((subject, _), _)| subject.starts_with(prefix));
        let archived = archived.map(|((_, sequence), stream)| (*stream, *sequence));
        let mut found = self.stored(archived);
        found.extend(self.live_beginning_with(prefix));
        found.sort_by_key(|(sequence, _)| *sequence);
        found
    }

    /// As [`Self::beginning_with`], of what is live: all that a guard sees.
    pub fn live_beginning_with(&self, prefix: &str) -> Vec<(u64, &Stored)> {
        let live = self.subjects.range(prefix.to_owned()..);
        let live = live.take_while(|(subject, _)| subject.starts_with(prefix));
        let mut found = self.stored(live.map(|(_, at)| *at));
        found.sort_by_key(|(sequence, _)| *sequence);
        found
    }

    fn stored(&self, places: impl Iterator<Item = (StreamId, u64)>) -> Vec<(u64, &Stored)> {
        places
            .filter_map(|(stream, sequence)| self.after(stream, sequence - 1).next())
            .collect()
    }

    pub fn is_archived(&self, prefix: &str) -> bool {
        let mut archived = self.archived.range((prefix.to_owned(), 0)..);
        let first = archived.next();
        first.is_some_and(|((subject, _), _)| subject.starts_with(prefix))
    }

    /// Takes what stands up to a sequence out of what is live, as far as consumers have acknowledged
    /// it and one event stays; up to where that is now.
    pub fn archive(&mut self, stream: StreamId, through: u64) -> u64 {
        let floors = self.consumers.values().filter_map(|consumer| {
            let held = consumer.unacknowledged.keys();
            let mut held = held.filter(|(of, _)| *of == Some(stream));
            let reached = consumer.reached.get(&stream).copied().unwrap_or(0);
            let wanted = self.after(stream, reached);
            let waiting = wanted.filter(|(_, stored)| consumer.wants(&stored.raw));
            let waiting = waiting.map(|(sequence, _)| sequence).next();
            held.next().map(|(_, sequence)| *sequence).or(waiting)
        });
        let awaited = floors.min().unwrap_or(u64::MAX);
        let end = self.end(stream).saturating_sub(1);
        let through = through.min(awaited - 1).min(end);
        let gone = |at: &(StreamId, u64)| at.0 == stream && at.1 <= through;
        let gone = self.subjects.extract_if(.., |_, at| gone(at));
        let gone = gone.map(|(subject, (stream, sequence))| ((subject, sequence), stream));
        self.archived.extend(gone);
        let purged = self.purged.entry(stream).or_default();
        *purged = (*purged).max(through);
        *purged
    }
}
