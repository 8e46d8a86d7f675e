-- What the last `optimize performance` told.
-- Parameters: none.
-- Columns: body (JSON as text), age_s.
SELECT p.body, extract(epoch FROM now() - p.at)::bigint AS age_s
  FROM healer.performance_sample p
 ORDER BY p.at DESC
 LIMIT 1
