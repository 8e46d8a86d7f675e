-- The queries that were seen at work for a job, by the time they took in 7 days.
-- Parameters: $1 text job.
-- Columns: query_id, user_id, calls, total_ms, query (masked and cut).
SELECT q.query_id, max(q.user_id) AS user_id, coalesce(sum(q.delta_calls), 0)::bigint AS calls,
       coalesce(sum(q.delta_ms), 0)::double precision AS total_ms, max(q.query) AS query
  FROM healer.query_sample q
 WHERE q.application = $1::text AND q.at > now() - interval '7 days'
 GROUP BY q.query_id
 ORDER BY coalesce(sum(q.delta_ms), 0) DESC
 LIMIT 5
