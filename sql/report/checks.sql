-- How each check of a pass was when it last ran.
-- Parameters: $1 text pass. Looks at its last 50 runs.
-- Columns: name, status, found, summary, age_s, run, incomplete (whether that run did not come to its end, or something
--   of it failed).
SELECT DISTINCT ON (c.value ->> 'name') c.value ->> 'name' AS name, c.value ->> 'status' AS status,
       CASE WHEN jsonb_typeof(c.value -> 'found') = 'number' THEN (c.value ->> 'found')::bigint END AS found,
       c.value ->> 'summary' AS summary, extract(epoch FROM now() - r.finished_at)::bigint AS age_s, r.id AS run,
       r.exit_code IS NULL OR r.exit_code NOT IN (0, 4) AS incomplete
  FROM (SELECT x.id, x.finished_at, x.exit_code, x.checks FROM healer.run x
         WHERE x.pass = $1::text AND x.finished_at IS NOT NULL AND jsonb_typeof(x.checks) = 'array'
         ORDER BY x.started_at DESC LIMIT 50) r
 CROSS JOIN LATERAL jsonb_array_elements(r.checks) c
 WHERE c.value ->> 'name' IS NOT NULL
 ORDER BY c.value ->> 'name', r.id DESC
