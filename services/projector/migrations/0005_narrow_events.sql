-- Narrower events, with one index less: made anew, as what is stored follows from the log.

DROP TABLE events;
DROP TABLE execution_skills;

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
    -- The bytes of the digest.
    hash      BLOB,
    -- Why the event cannot be read.
    fault     TEXT,
    -- How the execution it belongs to stood after it.
    status    TEXT,
    -- Who had asked for that execution (JSON), where the event may change who votes on what.
    requester TEXT,
    -- JSON: a list of pairs, without the broker's own.
    headers   TEXT    NOT NULL,
    payload   BLOB    NOT NULL,
    UNIQUE (stream, sequence)
) STRICT;

-- What feeds filter by stands in the indexes they walk.
CREATE INDEX events_by_workspace
    ON events (workspace, ordinal, event, status, aggregate, fault);

-- Also an execution's whole history, in the order in which it was stored.
CREATE INDEX events_of_aggregate
    ON events (workspace, aggregate, ordinal, event, status, fault);

-- Of what is few: executions are folded, so none of their versions is looked for.
CREATE INDEX events_by_version ON events (workspace, kind, aggregate, version)
    WHERE kind <> 'execution';

-- The skills that the plan of an execution uses.
CREATE TABLE execution_skills (
    workspace TEXT NOT NULL,
    skill     TEXT NOT NULL,
    execution TEXT NOT NULL,
    PRIMARY KEY (workspace, skill, execution)
) STRICT, WITHOUT ROWID;

CREATE INDEX execution_skills_by_execution ON execution_skills (workspace, execution);
