-- Errors a day, as the analyses counted them.
-- Parameters: $1 bigint seconds.
-- Columns: day, errors, patterns.
SELECT date_trunc('day', c.hour) AS day, sum(c.errors)::bigint AS errors, count(DISTINCT c.pattern) AS patterns
  FROM healer.error_count c
 WHERE c.hour > now() - make_interval(secs => $1::bigint)
 GROUP BY 1 ORDER BY 1
