-- What was foretold last.
-- Parameters: none.
-- Columns: kind, subject, told, made_at, age_s, run.
SELECT o.kind, o.subject, o.told, o.made_at, extract(epoch FROM now() - o.made_at)::bigint AS age_s, o.run_id AS run
  FROM healer.outlook o
 ORDER BY o.kind, o.subject
 LIMIT 500
