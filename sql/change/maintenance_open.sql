-- Actions that were begun by an earlier run and whose end nobody journalled.
-- Parameters: $1 bigint this run.
-- Columns: id, action, target, before (JSON).
SELECT a.id, a.action, a.target, a.before
  FROM healer.action a
 WHERE a.relation = 'database' AND a.after ->> 'outcome' = 'started' AND a.run_id <> $1::bigint
   AND a.applied_at > now() - interval '30 days'
 ORDER BY a.id
 LIMIT 100
