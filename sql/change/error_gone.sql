-- Says of the patterns that a run did not meet in all that it read that they are gone, unless they are too rare to be
-- missed yet: five should have come in the silence.
-- Parameters: $1 timestamptz how far back it read.
-- Columns: id.
UPDATE healer.error_pattern p SET standing = 'gone', view = jsonb_set(p.view, '{standing}', '"gone"')
 WHERE p.last_seen <= $1::timestamptz AND p.standing <> 'gone'
   AND (SELECT coalesce(sum(c.errors), 0) FROM healer.error_count c WHERE c.pattern = p.id) >= 5
   AND (SELECT coalesce(sum(c.errors), 0) FROM healer.error_count c WHERE c.pattern = p.id)
       * extract(epoch FROM now() - p.last_seen) / greatest(extract(epoch FROM p.last_seen - p.first_seen), 3600) >= 5
RETURNING p.id
