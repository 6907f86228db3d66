-- The events as they were written, and one row per aggregate computed from its events alone.
-- Instants are milliseconds since the Unix epoch; hashes and digests of text are hexadecimal.

CREATE TABLE events (
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
    PRIMARY KEY (stream, sequence)
) STRICT;

CREATE INDEX events_by_aggregate ON events (workspace, kind, aggregate, version);

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
    actor             TEXT,
    channel           TEXT,
    text              TEXT,
    plan_hash         TEXT,
    error_code        TEXT,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    PRIMARY KEY (workspace, id)
) STRICT;

CREATE INDEX executions_by_age ON executions (workspace, created_at DESC, id DESC);
CREATE INDEX executions_by_status ON executions (workspace, status, created_at DESC, id DESC);

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
    votes              INTEGER NOT NULL,
    -- JSON: a list of grants and principals.
    eligible           TEXT    NOT NULL,
    reason             TEXT    NOT NULL,
    opened_at          INTEGER NOT NULL,
    expires_at         INTEGER NOT NULL,
    PRIMARY KEY (workspace, execution, step)
) STRICT;

CREATE INDEX approvals_by_expiry ON approvals (workspace, expires_at);

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
