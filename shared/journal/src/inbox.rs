//! The durable inbox: what others publish for intake waits on the broker until it is taken, and
//! what is refused is kept with its reason.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use contracts::{
    canonical::Digest,
    ids::{PrincipalId, WorkspaceId},
    problem::Problem,
    subject::{INBOX_ROOT, decode_token, encode_token},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::stored::Raw;

const REFUSED_ROOT: &str = "cp.refused";

/// How much of a refused payload is kept: enough to see what it was.
pub const KEPT_BYTES_MAX: usize = 16 * 1024;

/// How many refusals of one sender are kept.
const KEPT_OF_ONE_MAX: u64 = 256;

/// How many of its headers are kept, and how much of each.
const KEPT_HEADERS_MAX: usize = 64;
const KEPT_HEADER_CHARS_MAX: usize = 256;

/// Where a principal publishes what is to be taken. The broker lets it publish there and nowhere
/// else, so the subject says whose it is.
pub fn inbox_subject(workspace: &WorkspaceId, principal: &PrincipalId) -> String {
    format!(
        "{INBOX_ROOT}.{workspace}.{}",
        encode_token(principal.as_str())
    )
}

/// All that is published for a workspace.
pub(crate) fn inbox_filter(workspace: &WorkspaceId) -> String {
    format!("{INBOX_ROOT}.{workspace}.*")
}

/// Whose a message of the inbox is.
pub fn sender(subject: &str) -> Option<(WorkspaceId, PrincipalId)> {
    let rest = subject.strip_prefix(INBOX_ROOT)?.strip_prefix('.')?;
    let (workspace, principal) = rest.split_once('.')?;
    let principal = decode_token(principal)?;
    Some((workspace.parse().ok()?, principal.parse().ok()?))
}

/// A message of the inbox that was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Of the message in the inbox.
    pub sequence: u64,
    /// Where it was published.
    pub subject: String,
    pub refused_at: Timestamp,
    pub problem: Problem,
    /// At most the first 64, and the first 256 characters of each value.
    pub headers: Vec<(String, String)>,
    /// In base64, at most the first 16 KiB.
    pub payload: String,
    /// Of the whole payload.
    pub payload_bytes: usize,
    pub payload_digest: Digest,
}

impl Refusal {
    pub fn of(sequence: u64, raw: &Raw, problem: Problem, refused_at: Timestamp) -> Self {
        let clipped = |text: &String| text.chars().take(KEPT_HEADER_CHARS_MAX).collect();
        let kept = raw.payload.get(..KEPT_BYTES_MAX).unwrap_or(&raw.payload);
        let headers = raw.headers.iter().take(KEPT_HEADERS_MAX);
        Self {
            sequence,
            subject: raw.subject.clone(),
            refused_at,
            problem,
            headers: headers
                .map(|(name, value)| (clipped(name), clipped(value)))
                .collect(),
            payload: STANDARD.encode(kept),
            payload_bytes: raw.payload.len(),
            payload_digest: Digest::of(&raw.payload),
        }
    }

    /// Where it is kept: once, however often the message is refused, and in the place of an older
    /// one of the same sender, so that nobody's refusals push out another's.
    pub(crate) fn subject(&self) -> String {
        let sender = self.subject.strip_prefix(INBOX_ROOT).unwrap_or_default();
        format!("{REFUSED_ROOT}{sender}.{}", self.sequence % KEPT_OF_ONE_MAX)
    }
}

/// What is kept of a workspace.
pub(crate) fn refused_filter(workspace: &WorkspaceId) -> String {
    format!("{REFUSED_ROOT}.{workspace}.>")
}
