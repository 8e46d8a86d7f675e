-- The last runs.
-- Parameters: $1 bigint how many; $2 bigint seconds to look back.
-- Columns: run, pass, command, started_at, duration_ms, status, exit_code, counts, error, age_s, abandoned.
SELECT r.id AS run, r.pass, r.command, r.started_at,
       (extract(epoch FROM r.finished_at - r.started_at) * 1000)::bigint AS duration_ms,
       r.status, r.exit_code::bigint AS exit_code, r.counts, r.error,
       extract(epoch FROM now() - r.started_at)::bigint AS age_s,
       r.finished_at IS NULL AND r.started_at < now() - interval '1 hour' AS abandoned
  FROM healer.run r
 WHERE r.started_at > now() - make_interval(secs => $2::bigint)
 ORDER BY r.started_at DESC
 LIMIT $1::bigint
