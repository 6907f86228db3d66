//! Commands and queries, as the registry has them.
//!
//! * [`table`]: all of them, each with what is its own
//! * [`errors`]: what several of them answer

mod errors;
mod table;

use schemars::Schema;
use serde_json::{Map, Value};

use super::{Grant, Section, VERSION};
use crate::{event::EventName, facts::Actor, problem::Code, subject::ROOT};

pub use table::OperationName;

/// One command or query.
#[derive(Debug)]
pub struct Operation {
    pub key: &'static str,
    pub version: &'static str,
    pub kind: Kind,
    pub section: Section,
    /// Nothing for what is not in the reference contract.
    pub capability: Option<&'static str>,
    pub grant: Grant,
    /// What the input changes about the grant.
    pub variations: &'static [Variation],
    /// Members of the input that hold personal data.
    pub pii: &'static [&'static str],
    /// Paths into the output that hold personal data; `*` stands for each item.
    pub output_pii: &'static [&'static str],
    pub idempotent: bool,
    /// Besides [`COMMON_ERRORS`].
    pub errors: &'static [Code],
    /// What is appended for it, by whichever service.
    pub emits: &'static [EventName],
    input: fn() -> Schema,
    output: fn() -> Schema,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Command,
    Query,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
        }
    }
}

/// How a member of the input changes the grant that is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variation {
    /// Where the member is given, this grant is enough.
    Suffices { member: &'static str, grant: Grant },
    /// Where the member is true, this grant is needed as well.
    NeededToo { member: &'static str, grant: Grant },
}

/// A row of the reference contract that this build knows and does not serve.
#[derive(Debug)]
pub struct NotServed {
    pub key: &'static str,
    pub version: &'static str,
    pub kind: Kind,
}

/// What any operation may answer.
pub const COMMON_ERRORS: [Code; 15] = [
    Code::InvalidInput,
    Code::InvalidJson,
    Code::TooDeep,
    Code::Unauthenticated,
    Code::Forbidden,
    Code::NotFound,
    Code::MethodNotAllowed,
    Code::AnswerTooLarge,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::RateLimited,
    Code::Internal,
    Code::LogUnavailable,
    Code::ServiceUnavailable,
    Code::WorkspaceMismatch,
];

impl OperationName {
    /// As paths and subjects have it: without `controlPlane.` before it.
    pub fn short(self) -> &'static str {
        let key = self.entry().key;
        key.strip_prefix(ROOT)
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(key)
    }
}

impl Operation {
    /// A row of the reference contract with nothing of its own yet.
    const fn of(
        key: &'static str,
        kind: Kind,
        grant: Grant,
        input: fn() -> Schema,
        output: fn() -> Schema,
    ) -> Self {
        Self {
            key,
            version: VERSION,
            kind,
            section: Section::Reference,
            capability: None,
            grant,
            variations: &[],
            pii: &[],
            output_pii: &[],
            idempotent: matches!(kind, Kind::Query),
            errors: &[],
            emits: &[],
            input,
            output,
        }
    }

    /// The JSON Schema of its input.
    pub fn input(&self) -> Schema {
        (self.input)()
    }

    /// The JSON Schema of its output.
    pub fn output(&self) -> Schema {
        (self.output)()
    }

    /// Everything it may answer that is not its output.
    pub fn all_errors(&self) -> impl Iterator<Item = Code> {
        COMMON_ERRORS.into_iter().chain(self.errors.iter().copied())
    }

    /// Whether `actor` may ask for this with `input`; otherwise the grant that is missing.
    pub fn authorise(&self, actor: &Actor, input: &Map<String, Value>) -> Result<(), Grant> {
        let given = |member: &str| input.get(member).is_some_and(|value| !value.is_null());
        let is_true = |member: &str| input.get(member) == Some(&Value::Bool(true));
        let mut enough = self.grant.is_held_by(actor);
        for variation in self.variations {
            match *variation {
                Variation::Suffices { member, grant } => {
                    enough |= given(member) && grant.is_held_by(actor);
                }
                Variation::NeededToo { member, grant } => {
                    if is_true(member) && !grant.is_held_by(actor) {
                        return Err(grant);
                    }
                }
            }
        }
        if enough { Ok(()) } else { Err(self.grant) }
    }
}

const fn command(key: &'static str) -> NotServed {
    NotServed {
        key,
        version: "1.0.0",
        kind: Kind::Command,
    }
}

const fn query(key: &'static str) -> NotServed {
    NotServed {
        key,
        version: "1.0.0",
        kind: Kind::Query,
    }
}

pub static NOT_SERVED: [NotServed; 3] = [
    command("controlPlane.execution.evidence.export"),
    query("controlPlane.execution.lane.get"),
    query("controlPlane.execution.lane.list"),
];
