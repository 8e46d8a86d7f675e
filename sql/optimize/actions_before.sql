-- The maintenance of the last 3 days, the newest first.
-- Parameters: none.
-- Columns: run, action, target, age_s, before, after (JSON).
SELECT a.run_id AS run, a.action, a.target, extract(epoch FROM now() - a.applied_at)::bigint AS age_s, a.before, a.after
  FROM healer.action a
 WHERE a.relation = 'database' AND a.applied_at > now() - interval '3 days'
 ORDER BY a.id DESC
 LIMIT 100
