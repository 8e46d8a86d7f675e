-- Notes the counters of the queries that ran since they were last noted.
-- Parameters: $1 text JSON list of {user_id, query_id, toplevel, calls, total_ms, rows, delta_calls, delta_ms, application, query}.
-- Columns: none.
INSERT INTO healer.query_sample (at, user_id, query_id, toplevel, calls, total_ms, rows, delta_calls, delta_ms, application, query)
SELECT now(), q.user_id, q.query_id, q.toplevel, q.calls, q.total_ms, q.rows, q.delta_calls, q.delta_ms, q.application, q.query
  FROM jsonb_to_recordset($1::text::jsonb) AS q (user_id bigint, query_id bigint, toplevel boolean, calls bigint,
       total_ms double precision, rows bigint, delta_calls bigint, delta_ms double precision, application text, query text)
