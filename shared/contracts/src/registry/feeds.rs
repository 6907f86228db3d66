//! Live feeds: `GET` of a path whose answer is server-sent events and goes on.

use schemars::Schema;

use super::Grant;
use crate::{
    ids::ExecutionId, operations::several::Several, plan::Status, position::Positions,
    problem::Code,
};

/// A live feed. Each message is a complete `CloudEvent`; its `id` is the position from which a
/// reader goes on.
#[derive(Debug)]
pub struct Feed {
    pub path: &'static str,
    /// As `operationId` of the description.
    pub key: &'static str,
    pub what: &'static str,
    /// Besides what its messages need: see `what`.
    pub grant: Grant,
    pub parameters: &'static [Parameter],
    /// Whether it comes to an end, and then answers 204 to who goes on after it.
    pub ends: bool,
    /// Besides those of every query.
    pub errors: &'static [Code],
}

/// A parameter of a feed.
#[derive(Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub place: Place,
    pub what: &'static str,
    schema: fn() -> Schema,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Path,
    Query,
    Header,
}

impl Place {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

impl Parameter {
    pub fn schema(&self) -> Schema {
        (self.schema)()
    }
}

/// What every feed may refuse with.
pub const FEED_ERRORS: [Code; 8] = [
    Code::InvalidInput,
    Code::Unauthenticated,
    Code::Forbidden,
    Code::MethodNotAllowed,
    Code::RateLimited,
    Code::Internal,
    Code::LogUnavailable,
    Code::PositionNotReached,
];

/// The name of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FeedName {
    Workspace,
    Execution,
    Approvals,
}

impl FeedName {
    pub const ALL: [Self; 3] = [Self::Workspace, Self::Execution, Self::Approvals];

    pub fn entry(self) -> &'static Feed {
        match self {
            Self::Workspace => &WORKSPACE,
            Self::Execution => &EXECUTION,
            Self::Approvals => &APPROVALS,
        }
    }
}

static WORKSPACE: Feed = Feed {
    path: "/v1/events",
    key: "events.feed",
    what: "Every event of the workspace that fits the filters, from the given position on, or \
        from now on where none is given. Events of one stream come in its order. Events of skills \
        need the grant `skill.read` and those of policies `policy.read`: without it they are left \
        out. Without `trace.read` and `trace.payloads`, `data` holds no personal members.",
    grant: Grant::ExecutionRead,
    parameters: &[
        LAST_EVENT_ID,
        AFTER,
        Parameter {
            name: "type",
            place: Place::Query,
            what: "Names of events, such as `execution.completed`, several times or separated by \
                commas; with `*` at the end, all that begin so: `execution.step.*`.",
            schema: || schemars::schema_for!(Several<String>),
        },
        Parameter {
            name: "executionId",
            place: Place::Query,
            what: "Only what happens to this execution.",
            schema: || schemars::schema_for!(ExecutionId),
        },
        Parameter {
            name: "status",
            place: Place::Query,
            what: "Only events after which their execution stands so.",
            schema: || schemars::schema_for!(Several<Status>),
        },
    ],
    ends: false,
    errors: &[],
};

static EXECUTION: Feed = Feed {
    path: "/v1/executions/{executionId}/events",
    key: "execution.feed",
    what: "What happened to an execution from the first event on, or from the given position on, \
        and what happens until it ends. Without `trace.read` and `trace.payloads`, `data` holds no \
        personal members.",
    grant: Grant::ExecutionRead,
    parameters: &[
        Parameter {
            name: "executionId",
            place: Place::Path,
            what: "The execution.",
            schema: || schemars::schema_for!(ExecutionId),
        },
        LAST_EVENT_ID,
        AFTER,
    ],
    ends: true,
    errors: &[Code::ExecutionNotFound, Code::ExecutionCorrupt],
};

static APPROVALS: Feed = Feed {
    path: "/v1/approvals/events",
    key: "approval.feed",
    what: "What changes the answer of `controlPlane.approval.list`: the blocks that the caller may \
        vote on, the votes, and what ends the waiting, from the given position on, or from now on \
        where none is given. Without `trace.read` and `trace.payloads`, `data` holds no personal \
        members.",
    grant: Grant::ExecutionRead,
    parameters: &[LAST_EVENT_ID, AFTER],
    ends: false,
    errors: &[],
};

const LAST_EVENT_ID: Parameter = Parameter {
    name: "Last-Event-ID",
    place: Place::Header,
    what: "The `id` of the last message that was read: the feed goes on after it.",
    schema: || schemars::schema_for!(Positions),
};

const AFTER: Parameter = Parameter {
    name: "after",
    place: Place::Query,
    what: "As `Last-Event-ID`, for who cannot send headers; the header counts where both are \
        given. `v1` is before everything.",
    schema: || schemars::schema_for!(Positions),
};
