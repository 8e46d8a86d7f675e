-- Takes the lease of a pass, without ever waiting, and opens the record of the run.
-- Parameters: $1 text pass; $2 text token; $3 text holder; $4 bigint seconds; $5 text command; $6 text version;
--   $7 bigint --max-actions, -1 for none; $8 bigint the run that is undone, -1 for none.
-- Columns: run (NULL: somebody else is at work), holder, since, prune (whether a day has passed since the last pruning).
WITH free AS (
  SELECT l.pass FROM healer.lease l WHERE l.pass = $1::text AND l.expires_at < clock_timestamp() FOR UPDATE SKIP LOCKED
), taken AS (
  UPDATE healer.lease l
     SET token = $2::text, holder = $3::text, acquired_at = clock_timestamp(),
         expires_at = clock_timestamp() + make_interval(secs => $4::bigint)
    FROM free WHERE l.pass = free.pass
  RETURNING l.pass
), run AS (
  INSERT INTO healer.run (pass, command, version, host, max_actions, undoes)
  SELECT $1::text, $5::text, $6::text, $3::text, nullif($7::bigint, -1), nullif($8::bigint, -1) FROM taken
  RETURNING id
)
SELECT (SELECT id FROM run) AS run,
       (SELECT holder FROM healer.lease WHERE pass = $1::text) AS holder,
       (SELECT acquired_at FROM healer.lease WHERE pass = $1::text) AS since,
       coalesce((SELECT updated_at < now() - interval '1 day' FROM healer.setting WHERE name = 'pruned'), true) AS prune
