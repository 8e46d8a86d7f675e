-- Claims of forecasts that were settled in the last 30 days, newest first.
-- Parameters: $1 bigint rows at most.
-- Columns: kind, claim, probability, baseline, came.
SELECT f.kind, f.claim, f.probability, f.baseline, f.came
  FROM healer.forecast f
 WHERE f.settled_at > now() - interval '30 days' AND f.came IS NOT NULL
 ORDER BY f.settled_at DESC
 LIMIT $1::bigint
