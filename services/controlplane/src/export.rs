//! The whole log as JSON lines: `events export` writes them, `replay --from` reads them.
//!
//! A [`Header`], then one [`Line`] per stored message: the catalogue first, since executions were
//! decided on it. Bytes are written as they are stored, so hashes can be checked on a copy.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use contracts::{
    position::{Position, Positions, StreamId},
    time::Timestamp,
};
use journal::{
    Journal, Unavailable,
    layout::StreamCount,
    stored::{Entry, Raw},
    tail::{Scope, Tail, TailError},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _, BufWriter},
    time::timeout,
};

/// The version of the format, in the header.
pub const FORMAT: &str = "cp.export.v1";

/// How many messages are taken at once: with payloads of up to 256 KiB each, 64 MiB, beside what the
/// journal keeps for its reader.
const BATCH: usize = 256;

/// How long nothing may come of a stream that has more: the broker starts again, or what was purged
/// cannot be read.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The first line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub format: String,
    /// Into how many streams executions are spread.
    pub streams: u8,
    /// Up to where each stream was written; a file that ends before is cut off.
    pub positions: Positions,
}

/// One stored message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub stream: String,
    pub sequence: u64,
    pub subject: String,
    pub headers: Vec<(String, String)>,
    /// In base64; what the log stores apart is filled in.
    pub payload: String,
    /// By the broker's clock; earlier exports do not hold it.
    #[serde(rename = "storedAt", default, skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    #[error("`{0}` is not a stream of the log")]
    Stream(String),
    #[error("the payload is not base64")]
    Payload,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("cannot read the log")]
    Read(#[from] Unavailable),
    #[error("cannot follow the log")]
    Tail(#[from] TailError),
    #[error(
        "`{stream}` was read up to {reached} and ends at {end}: the rest does not come, try again"
    )]
    Behind {
        stream: String,
        reached: u64,
        end: u64,
    },
    #[error("a message cannot be written as JSON")]
    Encode(#[from] serde_json::Error),
    #[error("cannot write the export")]
    Write(#[from] std::io::Error),
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    pub messages: u64,
    pub positions: Positions,
}

/// Writes the log up to where it ends now.
pub async fn run(
    journal: &dyn Journal,
    output: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<Exported, ExportError> {
    let mut output = BufWriter::new(output);
    let ends = ends(journal).await?;
    let mut positions = Positions::beginning();
    for (stream, sequence) in &ends {
        positions.advance(Position {
            stream: *stream,
            sequence: *sequence,
        });
    }
    let header = Header {
        format: FORMAT.to_owned(),
        streams: journal.stream_count().get(),
        positions: positions.clone(),
    };
    write_line(&mut output, &header).await?;
    let mut messages = 0;
    for (stream, end) in ends {
        let mut reading = Reading::begin(journal, stream, end).await?;
        while let Some(entries) = reading.next().await? {
            for entry in &entries {
                write_line(&mut output, &Line::from(entry)).await?;
                messages += 1;
            }
        }
    }
    output.flush().await?;
    Ok(Exported {
        messages,
        positions,
    })
}

/// Where each stream ends, the catalogue first. It is asked last, so that it holds everything that
/// the executions up to their ends were decided on.
pub(crate) async fn ends(journal: &dyn Journal) -> Result<Vec<(StreamId, u64)>, Unavailable> {
    let mut ends = Vec::new();
    for stream in journal.streams() {
        if stream != StreamId::Catalogue {
            ends.push((stream, journal.last_sequence(stream).await?));
        }
    }
    let catalogue = journal.last_sequence(StreamId::Catalogue).await?;
    ends.insert(0, (StreamId::Catalogue, catalogue));
    Ok(ends)
}

/// A whole stream, up to where it ended: the broker sends ahead, which costs it a fraction of what
/// being asked does.
pub(crate) struct Reading<'a> {
    journal: &'a dyn Journal,
    tail: Box<dyn Tail>,
    stream: StreamId,
    reached: u64,
    end: u64,
}

impl<'a> Reading<'a> {
    pub async fn begin(
        journal: &'a dyn Journal,
        stream: StreamId,
        end: u64,
    ) -> Result<Self, ExportError> {
        let beginning = Positions::beginning();
        Ok(Self {
            journal,
            tail: journal.tail(&beginning, Scope::Stream(stream)).await?,
            stream,
            reached: 0,
            end,
        })
    }

    /// The next messages, in order; none where there are no more.
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, ExportError> {
        if self.reached >= self.end {
            return Ok(None);
        }
        let Ok(mut entries) = timeout(SILENCE_MAX, self.tail.next_batch(BATCH)).await else {
            // Who asks is told why, where there is a reason.
            let asked = read(self.journal, self.stream, self.reached, self.end).await;
            return Err(asked.err().unwrap_or_else(|| ExportError::Behind {
                stream: self.stream.name(),
                reached: self.reached,
                end: self.end,
            }));
        };
        let last = entries.last().map(|last| last.position.sequence);
        self.reached = last.unwrap_or(self.end);
        entries.retain(|entry| entry.position.sequence <= self.end);
        Ok(Some(entries))
    }
}

/// The next messages of a stream, none beyond `end`; never nothing.
pub(crate) async fn read(
    journal: &dyn Journal,
    stream: StreamId,
    reached: u64,
    end: u64,
) -> Result<Vec<Entry>, ExportError> {
    let mut entries = journal.read(stream, reached, BATCH).await?;
    entries.retain(|entry| entry.position.sequence <= end);
    if entries.is_empty() {
        return Err(ExportError::Behind {
            stream: stream.name(),
            reached,
            end,
        });
    }
    Ok(entries)
}

async fn write_line<T: Serialize>(
    output: &mut (impl AsyncWrite + Unpin),
    line: &T,
) -> Result<(), ExportError> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    output.write_all(&bytes).await?;
    Ok(())
}

impl From<&Entry> for Line {
    fn from(entry: &Entry) -> Self {
        Self {
            stream: entry.position.stream.name(),
            sequence: entry.position.sequence,
            subject: entry.raw.subject.clone(),
            headers: entry.raw.headers.clone(),
            payload: STANDARD.encode(&entry.raw.payload),
            stored_at: entry.stored_at,
        }
    }
}

impl Line {
    pub fn entry(self) -> Result<Entry, InvalidLine> {
        let stream = stream(&self.stream).ok_or(InvalidLine::Stream(self.stream))?;
        let payload = STANDARD
            .decode(&self.payload)
            .map_err(|_| InvalidLine::Payload)?;
        let position = Position {
            stream,
            sequence: self.sequence,
        };
        let raw = Raw {
            subject: self.subject,
            headers: self.headers,
            payload: payload.into(),
        };
        Ok(Entry::new(position, raw).stored_at(self.stored_at))
    }
}

fn stream(name: &str) -> Option<StreamId> {
    let most = StreamCount::try_new(contracts::subject::SHARDS).ok()?;
    most.streams()
        .into_iter()
        .find(|stream| stream.name() == name)
}
