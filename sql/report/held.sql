-- Posts that are held now, oldest first.
-- Parameters: $1 bigint how many to list.
-- Columns: post, check_name, code, reason, age_s, total (of all held).
SELECT h.post, h.check_name, h.code, h.reason, extract(epoch FROM now() - h.held_at)::bigint AS age_s,
       count(*) OVER () AS total
  FROM healer.held_post h
 WHERE h.resolved_at IS NULL
 ORDER BY h.held_at, h.id
 LIMIT $1::bigint
