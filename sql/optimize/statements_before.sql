-- The counters as they were last noted, of each query, and when healer last noted any.
-- Parameters: none.
-- Columns: user_id, query_id, toplevel, calls, total_ms, rows, at, application.
SELECT DISTINCT ON (q.query_id, q.user_id, q.toplevel)
       q.user_id, q.query_id, q.toplevel, q.calls, q.total_ms, q.rows, q.at, q.application
  FROM healer.query_sample q
 ORDER BY q.query_id, q.user_id, q.toplevel, q.at DESC
 LIMIT 20000
