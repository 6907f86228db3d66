-- How an execution is driven: what was only observed is told from what ran.

ALTER TABLE executions ADD COLUMN mode TEXT;
