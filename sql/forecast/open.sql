-- The claims that are open.
-- Parameters: none.
-- Columns: id, kind, subject, claim, made_us, due_us (µs since 1970), probability, baseline, low, high, limit_value.
SELECT f.id, f.kind, f.subject, f.claim, (extract(epoch FROM f.made_at) * 1000000)::bigint AS made_us,
       (extract(epoch FROM f.due_at) * 1000000)::bigint AS due_us, f.probability, f.baseline, f.low, f.high, f.limit_value
  FROM healer.forecast f
 WHERE f.settled_at IS NULL
 ORDER BY f.id
 LIMIT 10000
