//! Reading the log: the catalogue, then everything that was decided on it.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use contracts::{
    position::{Positions, StreamId},
    subject::AggregateId,
};
use journal::{Journal, history::LoadError, tail::Scope};
use tokio::{
    fs::File,
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
};

use super::{BadLine, Progress, ReplayError, Selection, lanes::Lanes};
use crate::export::{self, FORMAT, Header, Line, Reading};

/// The longest line of an export: the largest payload that the log stores apart, in base64, with
/// room for what stands around it.
const LINE_BYTES_MAX: u64 = journal::object::OBJECT_BYTES_MAX as u64 / 3 * 4 + 1024 * 1024;

/// How many messages of one execution, or of a file, are taken at once.
const BATCH: usize = 256;

pub(super) async fn journal(
    journal: &Arc<dyn Journal>,
    selection: &Selection,
    lanes: &mut Lanes,
    progress: Tell<'_>,
) -> Result<(), ReplayError> {
    let ends = export::ends(journal.as_ref()).await?;
    let mut told = Told {
        of: ends.iter().map(|(_, end)| end).sum(),
        done: 0,
        progress,
    };
    for (stream, end) in ends {
        if stream == StreamId::Catalogue {
            whole(journal, stream, end, lanes, &mut told).await?;
            continue;
        }
        match selection {
            Selection::All => whole(journal, stream, end, lanes, &mut told).await?,
            Selection::One {
                workspace,
                execution,
            } => {
                let aggregate = AggregateId::execution(workspace.clone(), *execution);
                if journal.stream_count().stream_of(&aggregate) == stream {
                    let incidents = AggregateId::incident(workspace.clone(), aggregate.id());
                    one(journal, &aggregate, stream, end, lanes, &mut told).await?;
                    one(journal, &incidents, stream, end, lanes, &mut told).await?;
                }
            }
        }
    }
    Ok(())
}

/// Follows a whole stream up to where it ended when that was asked.
async fn whole(
    journal: &Arc<dyn Journal>,
    stream: StreamId,
    end: u64,
    lanes: &mut Lanes,
    told: &mut Told<'_>,
) -> Result<(), ReplayError> {
    if lanes.lanes_max() == 0 {
        return scan(journal, stream, end, None, lanes, told).await;
    }
    let mut reading = Reading::begin(journal.as_ref(), stream, end).await?;
    while let Some(entries) = reading.next().await? {
        let read = entries.len() as u64;
        lanes.take(entries).await;
        told.done(read);
    }
    Ok(())
}

/// Reads a stream, or what of it is one aggregate's, and waits for nothing but the broker's answers.
async fn scan(
    journal: &Arc<dyn Journal>,
    stream: StreamId,
    end: u64,
    only: Option<&AggregateId>,
    lanes: &mut Lanes,
    told: &mut Told<'_>,
) -> Result<(), ReplayError> {
    let only = only.map(|aggregate| format!("{}.", aggregate.prefix()));
    let mut reached = 0;
    while reached < end {
        let mut entries = export::read(journal.as_ref(), stream, reached, end).await?;
        reached = entries.last().map_or(end, |last| last.position.sequence);
        let read = entries.len() as u64;
        if let Some(only) = &only {
            entries.retain(|entry| entry.raw.subject.starts_with(only));
        }
        lanes.take(entries).await;
        told.done(read);
    }
    Ok(())
}

/// Follows one aggregate up to its head. Where its head cannot be read, which is what replay is
/// to name, the whole stream is read for it.
async fn one(
    journal: &Arc<dyn Journal>,
    aggregate: &AggregateId,
    stream: StreamId,
    end: u64,
    lanes: &mut Lanes,
    told: &mut Told<'_>,
) -> Result<(), ReplayError> {
    let head = match journal.head(aggregate).await {
        Ok(Some((position, _))) => position.sequence,
        Ok(None) => return Ok(()),
        Err(LoadError::Unavailable(error)) => return Err(error.into()),
        Err(LoadError::Corrupt { .. } | LoadError::Unreadable { .. } | LoadError::Newer { .. }) => {
            return scan(journal, stream, end, Some(aggregate), lanes, told).await;
        }
    };
    let scope = Scope::Aggregate(aggregate.clone());
    let mut tail = journal.tail(&Positions::beginning(), scope).await?;
    loop {
        let mut entries = tail.next_batch(BATCH).await;
        let is_last = entries.iter().any(|it| it.position.sequence >= head);
        // What was stored since may have been decided on a later catalogue than was read.
        entries.retain(|entry| entry.position.sequence <= end.min(head));
        lanes.take(entries).await;
        if is_last {
            return Ok(());
        }
    }
}

/// Tells how far it is, of how much.
pub(super) type Tell<'a> = &'a mut (dyn FnMut(Progress) + Send);

struct Told<'a> {
    of: u64,
    done: u64,
    progress: Tell<'a>,
}

impl Told<'_> {
    fn done(&mut self, read: u64) {
        self.done += read;
        (self.progress)(Progress {
            done: self.done,
            of: self.of,
        });
    }
}

pub(super) async fn file(
    path: &Path,
    lanes: &mut Lanes,
    progress: Tell<'_>,
) -> Result<(), ReplayError> {
    let io = |source| ReplayError::File {
        path: path.to_owned(),
        source,
    };
    let mut export = Lines {
        path,
        reader: BufReader::new(File::open(path).await.map_err(io)?),
        line: 0,
    };
    let not_an_export = || ReplayError::NotAnExport {
        path: path.to_owned(),
    };
    let first = export.next().await?.ok_or_else(not_an_export)?;
    let header: Header = serde_json::from_slice(&first).map_err(|_| not_an_export())?;
    if header.format != FORMAT {
        return Err(not_an_export());
    }
    let mut told = Told {
        of: header.positions.iter().map(|end| end.sequence).sum(),
        done: 0,
        progress,
    };
    let mut reached: BTreeMap<StreamId, u64> = BTreeMap::new();
    let mut batch = Vec::new();
    while let Some(bytes) = export.next().await? {
        let line: Line = serde_json::from_slice(&bytes).map_err(|error| export.bad(error))?;
        let entry = line.entry().map_err(|error| export.bad(error))?;
        let stream = entry.position.stream;
        if stream == StreamId::Catalogue && reached.keys().any(|other| *other != stream) {
            return Err(export.bad(BadLine::CatalogueFirst));
        }
        let before = reached.insert(stream, entry.position.sequence);
        if before.is_some_and(|before| before >= entry.position.sequence) {
            return Err(export.bad(BadLine::Order));
        }
        batch.push(entry);
        if batch.len() == BATCH {
            lanes.take(std::mem::take(&mut batch)).await;
            told.done(BATCH as u64);
        }
    }
    lanes.take(batch).await;
    for end in header.positions.iter() {
        let reached = reached.get(&end.stream).copied().unwrap_or(0);
        if reached < end.sequence {
            return Err(ReplayError::CutOff {
                path: path.to_owned(),
                stream: end.stream.name(),
                reached,
                end: end.sequence,
            });
        }
    }
    Ok(())
}

struct Lines<'a> {
    path: &'a Path,
    reader: BufReader<File>,
    line: u64,
}

impl Lines<'_> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ReplayError> {
        let mut bytes = Vec::new();
        let mut bounded = (&mut self.reader).take(LINE_BYTES_MAX);
        let read = bounded.read_until(b'\n', &mut bytes).await;
        read.map_err(|source| ReplayError::File {
            path: self.path.to_owned(),
            source,
        })?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        if bytes.len() as u64 >= LINE_BYTES_MAX {
            return Err(self.bad(BadLine::TooLong(LINE_BYTES_MAX)));
        }
        Ok(Some(bytes))
    }

    fn bad(&self, reason: impl Into<BadLine>) -> ReplayError {
        ReplayError::Line {
            path: self.path.to_owned(),
            line: self.line,
            reason: reason.into(),
        }
    }
}
