-- Branch of errors/breaker_moves: what the application reports.
SELECT g.reported_at AS at, g.data ->> 'open' = 'true' AS open, left(coalesce(g.data ->> 'name', ''), 100) AS words
  FROM healer.signal g
 WHERE g.name = 'breaker' AND g.reported_at > {errors_since} AND g.reported_at <= {errors_until} AND isfinite(g.reported_at)
   AND g.data ->> 'open' IN ('true', 'false')
