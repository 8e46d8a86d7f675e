-- The counters as they were last noted, of each query, and when healer last noted any.
-- Parameters: $1 bigint how many queries.
-- Columns: user_id, query_id, toplevel, calls, total_ms, rows, age_s (of the note), application.
SELECT DISTINCT ON (q.query_id, q.user_id, q.toplevel)
       q.user_id, q.query_id, q.toplevel, q.calls, q.total_ms, q.rows,
       extract(epoch FROM now() - q.at)::bigint AS age_s, q.application
  FROM healer.query_sample q
 ORDER BY q.query_id, q.user_id, q.toplevel, q.at DESC
 LIMIT $1::bigint
