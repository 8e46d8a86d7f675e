-- The patterns of errors of some time, as the last analysis stored them, the most frequent first.
-- Parameters: $1 bigint seconds; $2 bigint how many.
-- Columns: key, error_key, severity, template, example, standing, first_seen, last_seen, errors, view, total (of all).
SELECT p.key, p.error_key, p.severity, p.template, p.example, p.standing, p.first_seen, p.last_seen,
       c.errors, p.view, count(*) OVER () AS total
  FROM healer.error_pattern p
 CROSS JOIN LATERAL (SELECT coalesce(sum(c.errors), 0)::bigint AS errors FROM healer.error_count c
                      WHERE c.pattern = p.id AND c.hour > now() - make_interval(secs => $1::bigint)) c
 WHERE c.errors > 0 OR (p.standing = 'gone' AND p.last_seen > now() - interval '14 days')
 ORDER BY c.errors DESC, p.last_seen DESC, p.id
 LIMIT $2::bigint
