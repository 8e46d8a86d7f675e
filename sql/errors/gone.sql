-- Patterns of the last two weeks that went away before what a run reads, those that were most first. A rare one is not gone:
-- five should have come in the silence.
-- Parameters: $1 timestamptz how far back the run reads.
-- Columns: id, view.
SELECT p.id, p.view
  FROM healer.error_pattern p
 CROSS JOIN LATERAL (SELECT coalesce(sum(c.errors), 0) AS errors FROM healer.error_count c WHERE c.pattern = p.id) c
 WHERE p.last_seen <= $1::timestamptz AND p.last_seen > now() - interval '14 days' AND c.errors >= 5
   AND c.errors * extract(epoch FROM now() - p.last_seen) / greatest(extract(epoch FROM p.last_seen - p.first_seen), 3600) >= 5
 ORDER BY c.errors DESC, p.id
 LIMIT 50
