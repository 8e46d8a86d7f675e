-- The posts that a run changed, by the journal: the truth after a connection was cut in a COMMIT.
-- Parameters: $1 bigint run.
-- Columns: target.
SELECT a.target FROM healer.action a WHERE a.run_id = $1::bigint
