-- Posts whose id is being looked for, oldest first.
-- Parameters: $1 bigint how many to list.
-- Columns: post, age_s, total (of all).
SELECT r.post, extract(epoch FROM now() - r.first_seen)::bigint AS age_s, count(*) OVER () AS total
  FROM healer.id_recovery r
 WHERE r.resolved_at IS NULL
 ORDER BY r.first_seen, r.id
 LIMIT $1::bigint
