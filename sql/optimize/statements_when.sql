-- When the counters of queries were noted last.
-- Parameters: none.
-- Columns: at (NULL: never).
SELECT max(g.at) AS at
  FROM (SELECT s.at FROM healer.performance_sample s WHERE s.body ? 'queries' AND s.body -> 'queries' ->> 'source' = 'pg_stat_statements'
         ORDER BY s.at DESC LIMIT 1) g
