//! Reading the log: the catalogue, then everything that was decided on it.

use std::{collections::BTreeMap, path::Path};

use contracts::{
    position::{Positions, StreamId},
    subject::AggregateId,
};
use journal::{Journal, history::LoadError, stored::Entry, tail::Scope};
use tokio::{
    fs::File,
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
};

use super::{BadLine, ReplayError, Selection};
use crate::export::{self, FORMAT, Header, Line};

/// The longest line of an export: the largest payload that the log stores apart, in base64, with
/// room for what stands around it.
const LINE_BYTES_MAX: u64 = journal::object::OBJECT_BYTES_MAX as u64 / 3 * 4 + 1024 * 1024;

/// How many messages of one execution are taken at once.
const BATCH: usize = 256;

pub(super) async fn journal(
    journal: &dyn Journal,
    selection: &Selection,
    take: &mut impl FnMut(Entry),
) -> Result<(), ReplayError> {
    let ends = export::ends(journal).await?;
    for (stream, end) in ends {
        if stream == StreamId::Catalogue {
            scan(journal, stream, end, take).await?;
            continue;
        }
        match selection {
            Selection::All => scan(journal, stream, end, take).await?,
            Selection::One {
                workspace,
                execution,
            } => {
                let aggregate = AggregateId::execution(workspace.clone(), *execution);
                if journal.stream_count().stream_of(&aggregate) == stream {
                    let id = aggregate.id();
                    let incidents = AggregateId::incident(workspace.clone(), id);
                    one(journal, &aggregate, stream, end, take).await?;
                    one(journal, &incidents, stream, end, take).await?;
                }
            }
        }
    }
    Ok(())
}

async fn scan(
    journal: &dyn Journal,
    stream: StreamId,
    end: u64,
    take: &mut impl FnMut(Entry),
) -> Result<(), ReplayError> {
    let mut reached = 0;
    while reached < end {
        for entry in export::read(journal, stream, reached, end).await? {
            reached = entry.position.sequence;
            take(entry);
        }
    }
    Ok(())
}

/// Follows one aggregate up to its head. Where its head cannot be read, which is what replay is
/// to name, the whole stream is read for it.
async fn one(
    journal: &dyn Journal,
    aggregate: &AggregateId,
    stream: StreamId,
    end: u64,
    take: &mut impl FnMut(Entry),
) -> Result<(), ReplayError> {
    let head = match journal.head(aggregate).await {
        Ok(Some((position, _))) => position.sequence,
        Ok(None) => return Ok(()),
        Err(LoadError::Unavailable(error)) => return Err(error.into()),
        Err(LoadError::Corrupt { .. } | LoadError::Unreadable { .. } | LoadError::Newer { .. }) => {
            let prefix = format!("{}.", aggregate.prefix());
            let mut own = |entry: Entry| {
                if entry.raw.subject.starts_with(&prefix) {
                    take(entry);
                }
            };
            return scan(journal, stream, end, &mut own).await;
        }
    };
    let scope = Scope::Aggregate(aggregate.clone());
    let mut tail = journal.tail(&Positions::beginning(), scope).await?;
    loop {
        for entry in tail.next_batch(BATCH).await {
            let sequence = entry.position.sequence;
            // What was stored since may have been decided on a later catalogue than was read.
            if sequence <= end {
                take(entry);
            }
            if sequence >= head {
                return Ok(());
            }
        }
    }
}

pub(super) async fn file(path: &Path, take: &mut impl FnMut(Entry)) -> Result<(), ReplayError> {
    let io = |source| ReplayError::File {
        path: path.to_owned(),
        source,
    };
    let mut lines = Lines {
        path,
        reader: BufReader::new(File::open(path).await.map_err(io)?),
        line: 0,
    };
    let not_an_export = || ReplayError::NotAnExport {
        path: path.to_owned(),
    };
    let first = lines.next().await?.ok_or_else(not_an_export)?;
    let header: Header = serde_json::from_slice(&first).map_err(|_| not_an_export())?;
    if header.format != FORMAT {
        return Err(not_an_export());
    }
    let mut reached: BTreeMap<StreamId, u64> = BTreeMap::new();
    while let Some(bytes) = lines.next().await? {
        let line: Line = serde_json::from_slice(&bytes).map_err(|error| lines.bad(error))?;
        let entry = line.entry().map_err(|error| lines.bad(error))?;
        let stream = entry.position.stream;
        if stream == StreamId::Catalogue && reached.keys().any(|other| *other != stream) {
            return Err(lines.bad(BadLine::CatalogueFirst));
        }
        let before = reached.insert(stream, entry.position.sequence);
        if before.is_some_and(|before| before >= entry.position.sequence) {
            return Err(lines.bad(BadLine::Order));
        }
        take(entry);
    }
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
