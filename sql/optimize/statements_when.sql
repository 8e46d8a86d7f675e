-- When the counters of queries were noted last, and whether that was all of them.
-- Parameters: none.
-- Columns: at (NULL: never), complete.
SELECT max(g.at) AS at, coalesce(bool_and(g.complete), false) AS complete
  FROM (SELECT s.at, s.body -> 'queries' -> 'complete' = 'true'::jsonb AS complete
          FROM healer.performance_sample s WHERE s.body ? 'queries' AND s.body -> 'queries' ->> 'source' = 'pg_stat_statements'
         ORDER BY s.at DESC LIMIT 1) g
