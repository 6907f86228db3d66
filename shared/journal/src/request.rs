//! Request and reply, outside the log: calls of skills, and the endpoints of the API.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use contracts::{
    ids::WorkspaceId,
    subject::{SKILL_ROOT, encode_token},
};

use crate::Unavailable;

/// What the broker must at least take as one message, headers and all: a stored piece of an object,
/// an inline payload, a page of filters, a request or its answer.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// What is asked of whoever serves a subject. It may be executed although no reply comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub subject: String,
    pub headers: Vec<(String, String)>,
    pub payload: Bytes,
    pub timeout: Duration,
    /// On a connection of its own, so that no other answer ends it.
    pub apart: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    pub headers: Vec<(String, String)>,
    pub payload: Bytes,
}

impl Reply {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Certain: nobody has received it.
    #[error("nobody serves `{subject}`")]
    NoResponders { subject: String },
    /// It may have been executed: the answer, or somebody else's, broke the connection.
    #[error("the connection ended before `{subject}` answered")]
    Ended { subject: String },
    /// It may have been executed.
    #[error("no answer from `{subject}` within {} ms", timeout.as_millis())]
    Timeout { subject: String, timeout: Duration },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Where a skill of a workspace is served. The name is encoded: it cannot leave the workspace.
pub fn skill_subject(workspace: &WorkspaceId, name: &str) -> String {
    format!("{SKILL_ROOT}.{workspace}.{}", encode_token(name))
}

/// The requests for a subject that is served.
#[async_trait]
pub trait Requests: Send {
    /// Waits for the next request; nothing once the connection is closed. Safe to cancel.
    async fn next(&mut self) -> Option<Incoming>;

    /// Takes no more. What has come is still given by [`Self::next`], and then nothing.
    async fn drain(&mut self);
}

/// How many headers of a request are read: what has more is told so, and of what has one that is
/// left out nothing is known.
pub const HEADERS_MAX: usize = 64;

/// A request that is to be answered.
pub struct Incoming {
    pub subject: String,
    pub headers: Vec<(String, String)>,
    /// It had more headers than [`HEADERS_MAX`], and none is here.
    pub too_many_headers: bool,
    pub payload: Bytes,
    /// Where the asker wants the answer, on a broker.
    pub reply: Option<String>,
    pub(crate) responder: Box<dyn Respond>,
}

#[async_trait]
pub(crate) trait Respond: Send + Sync {
    async fn respond(self: Box<Self>, reply: Reply) -> Result<(), Unavailable>;
}

impl Incoming {
    pub async fn respond(self, reply: Reply) -> Result<(), Unavailable> {
        self.responder.respond(reply).await
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}
