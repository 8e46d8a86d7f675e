-- How each check of the pass `heal` was when it last ran.
-- Parameters: none. Looks at the last 50 runs.
-- Columns: name, status, found, summary, age_s, run.
SELECT DISTINCT ON (c.value ->> 'name') c.value ->> 'name' AS name, c.value ->> 'status' AS status,
       CASE WHEN jsonb_typeof(c.value -> 'found') = 'number' THEN (c.value ->> 'found')::bigint END AS found,
       c.value ->> 'summary' AS summary, extract(epoch FROM now() - r.finished_at)::bigint AS age_s, r.id AS run
  FROM (SELECT x.id, x.finished_at, x.checks FROM healer.run x
         WHERE x.pass = 'heal' AND x.finished_at IS NOT NULL AND jsonb_typeof(x.checks) = 'array'
         ORDER BY x.started_at DESC LIMIT 50) r
 CROSS JOIN LATERAL jsonb_array_elements(r.checks) c
 WHERE c.value ->> 'name' IS NOT NULL
 ORDER BY c.value ->> 'name', r.id DESC
