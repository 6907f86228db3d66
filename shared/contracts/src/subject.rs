//! Where an event is stored:
//! `controlPlane.<workspace>.<aggregate>.<shard>.<id>.<version>.<event>`.
//!
//! The name of the event stands last, for filters and for broker permissions per writer; the
//! version before it, so that each subject is written once.

use std::{
    cmp::Ordering,
    fmt::{self, Write as _},
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use crate::{
    event::EventName,
    ids::{ExecutionId, InvalidId, SkillKey, WorkspaceId},
};

/// How many shards there are; ids are spread over them by the first six bits of their SHA-256.
pub const SHARDS: u8 = 64;

/// The root token of the log's subjects.
pub const ROOT: &str = "controlPlane";

/// Under which stored events are published again, where that is turned on: as
/// `events.<workspace>.…`, with the rest of the subject that they are stored under.
pub const REPUBLISHED_ROOT: &str = "events";

/// Before the workspace, the principal and the operation that is asked for.
pub const API_ROOT: &str = "cp.api";

/// Before the workspace and the principal that publishes intents.
pub const INBOX_ROOT: &str = "cp.inbox";

/// Before the workspace and the entry point of a skill that is called.
pub const SKILL_ROOT: &str = "cp.skill";

/// A kind of aggregate, each with a history of its own per id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AggregateKind {
    Execution,
    Incident,
    Skill,
    Policy,
    Hold,
    Schedule,
}

impl AggregateKind {
    pub const ALL: [Self; 6] = [
        Self::Execution,
        Self::Incident,
        Self::Skill,
        Self::Policy,
        Self::Hold,
        Self::Schedule,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Execution => "execution",
            Self::Incident => "incident",
            Self::Skill => "skill",
            Self::Policy => "policy",
            Self::Hold => "hold",
            Self::Schedule => "schedule",
        }
    }

    /// Whether this kind lives in the catalogue stream, which has one total order.
    pub const fn in_catalogue(self) -> bool {
        matches!(
            self,
            Self::Skill | Self::Policy | Self::Hold | Self::Schedule
        )
    }

    fn parse(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == token)
    }
}

/// Two hexadecimal digits, `00` to `3f`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

impl Shard {
    pub fn of(id: &str) -> Self {
        let [first, ..] = <[u8; 32]>::from(Sha256::digest(id.as_bytes()));
        Self(first >> 2)
    }

    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self)
    }

    pub const fn index(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

/// One aggregate: a workspace, a kind and an id. Cheap to clone, and its subjects are cheap to write:
/// what they begin with is kept.
#[derive(Clone)]
pub struct AggregateId(Arc<Named>);

struct Named {
    workspace: WorkspaceId,
    kind: AggregateKind,
    /// As it was given, not encoded.
    id: String,
    shard: Shard,
    prefix: String,
}

impl AggregateId {
    fn new(workspace: WorkspaceId, kind: AggregateKind, id: String) -> Self {
        let shard = Shard::of(&id);
        let prefix = [
            ROOT,
            workspace.as_str(),
            kind.as_str(),
            &shard.to_string(),
            &encode_token(&id),
        ];
        let prefix = prefix.join(".");
        Self(Arc::new(Named {
            workspace,
            kind,
            id,
            shard,
            prefix,
        }))
    }

    pub fn execution(workspace: WorkspaceId, id: ExecutionId) -> Self {
        Self::new(workspace, AggregateKind::Execution, id.to_string())
    }

    /// The incidents of an execution, kept beside it.
    pub fn incident(workspace: WorkspaceId, id: &str) -> Self {
        Self::new(workspace, AggregateKind::Incident, id.to_owned())
    }

    pub fn skill(workspace: WorkspaceId, key: &SkillKey) -> Self {
        Self::new(workspace, AggregateKind::Skill, key.as_str().to_owned())
    }

    /// The one policy aggregate of a workspace.
    pub fn policy(workspace: WorkspaceId) -> Self {
        Self::new(workspace, AggregateKind::Policy, "active".to_owned())
    }

    pub fn workspace(&self) -> &WorkspaceId {
        &self.0.workspace
    }

    pub fn kind(&self) -> AggregateKind {
        self.0.kind
    }

    pub fn id(&self) -> &str {
        &self.0.id
    }

    pub fn shard(&self) -> Shard {
        self.0.shard
    }

    /// The id of an execution or of an incident about one; nothing for other kinds.
    pub fn execution_id(&self) -> Option<ExecutionId> {
        match self.kind() {
            AggregateKind::Execution | AggregateKind::Incident => self.id().parse().ok(),
            AggregateKind::Skill
            | AggregateKind::Policy
            | AggregateKind::Hold
            | AggregateKind::Schedule => None,
        }
    }

    /// `controlPlane.<workspace>.<aggregate>.<shard>.<id>`: what all its subjects begin with.
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// The aggregate whose [`Self::prefix`] is `text`.
    pub fn from_prefix(text: &str) -> Result<Self, InvalidSubject> {
        let shape = || InvalidSubject::Shape(text.to_owned());
        let mut tokens = text.split('.');
        let aggregate = Self::from_tokens(text, &mut tokens)?;
        // One aggregate has one spelling.
        if tokens.next().is_none() && aggregate.prefix() == text {
            Ok(aggregate)
        } else {
            Err(shape())
        }
    }

    /// Takes the tokens that every subject of an aggregate begins with; `text` is what they are
    /// of.
    fn from_tokens<'t>(
        text: &str,
        tokens: &mut impl Iterator<Item = &'t str>,
    ) -> Result<Self, InvalidSubject> {
        let shape = || InvalidSubject::Shape(text.to_owned());
        let mut next = || tokens.next().ok_or_else(shape);
        if next()? != ROOT {
            return Err(shape());
        }
        let workspace: WorkspaceId = next()?.parse().map_err(|_: InvalidId| shape())?;
        let kind = AggregateKind::parse(next()?)
            .ok_or_else(|| InvalidSubject::Aggregate(text.to_owned()))?;
        let shard = next()?;
        let id = decode_token(next()?).ok_or_else(shape)?;
        let aggregate = Self::new(workspace, kind, id);
        if aggregate.shard().to_string() == shard {
            Ok(aggregate)
        } else {
            Err(InvalidSubject::Shard(text.to_owned()))
        }
    }

    /// All else follows from these.
    fn parts(&self) -> (&WorkspaceId, AggregateKind, &str) {
        (&self.0.workspace, self.0.kind, &self.0.id)
    }

    /// A filter for every event of the aggregate.
    pub fn filter(&self) -> String {
        [self.prefix(), ".>"].concat()
    }

    /// A filter for one version, whatever its event; the guard of an append.
    pub fn version_filter(&self, version: u64) -> String {
        format!("{}.{version}.>", self.prefix())
    }
}

impl fmt::Display for AggregateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (workspace, kind, id) = self.parts();
        write!(f, "{workspace}/{}/{id}", kind.as_str())
    }
}

impl fmt::Debug for AggregateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (workspace, kind, id) = self.parts();
        f.debug_struct("AggregateId")
            .field("workspace", workspace)
            .field("kind", &kind)
            .field("id", &id)
            .finish()
    }
}

impl PartialEq for AggregateId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.parts() == other.parts()
    }
}

impl Eq for AggregateId {}

impl PartialOrd for AggregateId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AggregateId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl Hash for AggregateId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

/// The subject of one stored event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    pub aggregate: AggregateId,
    /// Counts from 1 within the aggregate.
    pub version: u64,
    pub event: EventName,
}

/// A subject that is not one of the log's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubject {
    #[error("not a subject of the log: `{0}`")]
    Shape(String),
    #[error("unknown aggregate kind in `{0}`")]
    Aggregate(String),
    #[error("the shard in `{0}` is not the shard of its id")]
    Shard(String),
    /// Not poison: a newer binary may know it.
    #[error("unknown event in `{0}`")]
    UnknownEvent(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.aggregate.prefix())?;
        write!(f, ".{}.", self.version)?;
        f.write_str(self.event.as_str())
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let shape = || InvalidSubject::Shape(text.to_owned());
        let mut tokens = text.splitn(7, '.');
        let aggregate = AggregateId::from_tokens(text, &mut tokens)?;
        let mut next = || tokens.next().ok_or_else(shape);
        let version: u64 = next()?.parse().map_err(|_| shape())?;
        let event = next()?;
        let kind = aggregate.kind();
        let event =
            EventName::parse(event).ok_or_else(|| InvalidSubject::UnknownEvent(text.to_owned()))?;
        let subject = Self {
            aggregate,
            version,
            event,
        };
        // One event has one spelling: `+1`, `01` and needless escapes are not it.
        if version > 0 && event.aggregate() == kind && subject.to_string() == text {
            Ok(subject)
        } else {
            Err(shape())
        }
    }
}

/// Writes any text as one subject token, reversibly: what is not a letter, a digit, `_` or `-`
/// becomes `=` and two upper-case hexadecimal digits per byte.
pub fn encode_token(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            token.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(token, "={byte:02X}");
        }
    }
    token
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The text that [`encode_token`] wrote as `token`.
pub fn decode_token(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'=' {
            let (hex, tail) = tail.split_at_checked(2)?;
            let hex = std::str::from_utf8(hex).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    // Most are nothing but what stands for itself.
    let is_plain = text == token && text.bytes().all(is_plain);
    (!text.is_empty() && (is_plain || encode_token(&text) == token)).then_some(text)
}
