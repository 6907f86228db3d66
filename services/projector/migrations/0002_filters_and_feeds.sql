-- Made anew and not altered: what is new here follows from the events, which are read again.

DROP TABLE events;
DROP TABLE executions;
DROP TABLE approvals;
DROP TABLE skills;
DROP TABLE policies;
DROP TABLE positions;

-- Which version of the projection the rows are of. Rows of another one are read again.
CREATE TABLE projection (
    version INTEGER NOT NULL PRIMARY KEY
) STRICT;

CREATE TABLE events (
    -- The order in which they were stored: that of each stream, and one of all. Another read model
    -- of the same log has another one, so it is never shown.
    ordinal   INTEGER NOT NULL PRIMARY KEY,
    stream    TEXT    NOT NULL,
    sequence  INTEGER NOT NULL,
    subject   TEXT    NOT NULL,
    -- What the subject says; absent where it is not one this version can read.
    workspace TEXT,
    kind      TEXT,
    aggregate TEXT,
    version   INTEGER,
    event     TEXT,
    time      INTEGER,
    hash      TEXT,
    -- JSON: a list of pairs, without the broker's own.
    headers   TEXT    NOT NULL,
    payload   BLOB    NOT NULL,
    -- Why the event cannot be read.
    fault     TEXT,
    -- Of the execution it belongs to: how that stood after it, and who had asked for it (JSON).
    status    TEXT,
    requester TEXT,
    UNIQUE (stream, sequence)
) STRICT;

CREATE INDEX events_by_aggregate ON events (workspace, kind, aggregate, version);
CREATE INDEX events_by_workspace ON events (workspace, ordinal);

CREATE TABLE executions (
    workspace         TEXT    NOT NULL,
    id                TEXT    NOT NULL,
    version           INTEGER NOT NULL,
    status            TEXT    NOT NULL,
    verdict           TEXT,
    risk_tier         TEXT,
    requires_approval INTEGER,
    -- Blocks that wait for votes.
    waiting           INTEGER NOT NULL,
    -- What it waits for: a bit for each kind.
    waits             INTEGER NOT NULL,
    actor             TEXT,
    channel           TEXT,
    text              TEXT,
    -- The text in small letters, to be searched.
    text_folded       TEXT,
    plan_hash         TEXT,
    error_code        TEXT,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    PRIMARY KEY (workspace, id)
) STRICT;

CREATE INDEX executions_by_age ON executions (workspace, created_at DESC, id DESC);
CREATE INDEX executions_by_status ON executions (workspace, status, created_at DESC, id DESC);
CREATE INDEX executions_by_actor ON executions (workspace, actor, created_at DESC, id DESC);
CREATE INDEX executions_that_wait ON executions (workspace, created_at DESC, id DESC)
    WHERE waits <> 0;

-- The skills that the plan of an execution uses.
CREATE TABLE execution_skills (
    workspace TEXT NOT NULL,
    skill     TEXT NOT NULL,
    execution TEXT NOT NULL,
    PRIMARY KEY (workspace, skill, execution)
) STRICT;

CREATE INDEX execution_skills_by_execution ON execution_skills (workspace, execution);

CREATE TABLE approvals (
    workspace          TEXT    NOT NULL,
    execution          TEXT    NOT NULL,
    step               TEXT    NOT NULL,
    block              TEXT    NOT NULL,
    risk_tier          TEXT    NOT NULL,
    plan_hash          TEXT    NOT NULL,
    inputs_digest      TEXT    NOT NULL,
    plan_hash_required INTEGER NOT NULL,
    quorum             INTEGER NOT NULL,
    -- JSON: a list of voters and instants.
    votes              TEXT    NOT NULL,
    -- JSON: a list of grants and principals.
    eligible           TEXT    NOT NULL,
    reason             TEXT    NOT NULL,
    opened_at          INTEGER NOT NULL,
    expires_at         INTEGER NOT NULL,
    PRIMARY KEY (workspace, execution, step)
) STRICT;

CREATE INDEX approvals_by_expiry ON approvals (workspace, expires_at, execution, step);

-- Who may vote on a block (`grant`, `principal`) and who may not: who has voted (`voted`), and who
-- asked (`requester`).
CREATE TABLE approval_names (
    workspace TEXT NOT NULL,
    execution TEXT NOT NULL,
    step      TEXT NOT NULL,
    kind      TEXT NOT NULL,
    name      TEXT NOT NULL,
    PRIMARY KEY (workspace, execution, step, kind, name)
) STRICT;

CREATE TABLE skills (
    workspace         TEXT    NOT NULL,
    key               TEXT    NOT NULL,
    skill_version     TEXT    NOT NULL,
    -- Of the aggregate, which holds all versions of the key.
    version           INTEGER NOT NULL,
    status            TEXT    NOT NULL,
    publisher         TEXT,
    provenance        TEXT,
    manifest_digest   TEXT,
    installed_at      INTEGER,
    PRIMARY KEY (workspace, key, skill_version)
) STRICT;

CREATE TABLE policies (
    workspace    TEXT    NOT NULL,
    hash         TEXT    NOT NULL,
    -- Of the aggregate, which holds all bundles of the workspace.
    version      INTEGER NOT NULL,
    -- `requested`, `active`, `replaced` or `refused`.
    status       TEXT    NOT NULL,
    -- JSON.
    bundle       TEXT    NOT NULL,
    findings     TEXT    NOT NULL,
    requested_at INTEGER NOT NULL,
    PRIMARY KEY (workspace, hash)
) STRICT;

-- How far each stream was read, in the same transaction as what was read.
CREATE TABLE positions (
    stream   TEXT    NOT NULL PRIMARY KEY,
    sequence INTEGER NOT NULL
) STRICT;
