-- Opens the record of a run that takes no lease (undo, resolve).
-- Parameters: $1 text pass; $2 text command; $3 text version; $4 text host; $5 bigint the run that is undone, -1 for none.
-- Columns: run.
INSERT INTO healer.run (pass, command, version, host, undoes)
VALUES ($1::text, $2::text, $3::text, $4::text, nullif($5::bigint, -1))
RETURNING id AS run
