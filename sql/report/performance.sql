-- What the last `optimize performance` told.
-- Parameters: none.
-- Columns: body (JSON), age_s, run.
SELECT p.body, extract(epoch FROM now() - p.at)::bigint AS age_s, p.run_id AS run
  FROM healer.performance_sample p
 ORDER BY p.at DESC
 LIMIT 1
