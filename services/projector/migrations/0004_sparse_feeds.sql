-- What feeds filter by stands in the index they walk, so that an event that is left out is not
-- read, payload and all.

DROP INDEX events_by_workspace;

CREATE INDEX events_by_workspace
    ON events (workspace, ordinal, event, status, aggregate, fault);

CREATE INDEX events_of_aggregate
    ON events (workspace, aggregate, ordinal, event, status, fault);
