-- Posts by their status over time, as `heal` counted them at its end: the last count of each step.
-- Parameters: $1 bigint seconds to look back; $2 bigint steps. Looks at the newest 20,000 runs at most.
-- Columns: status, step (1 is the oldest), posts (NULL for what is no number).
SELECT c.key AS status, l.step, CASE WHEN jsonb_typeof(c.value) = 'number' THEN c.value::text::numeric::bigint END AS posts
  FROM (SELECT DISTINCT ON (r.step) r.step, r.posts
          FROM (SELECT least(width_bucket(date_part('epoch', x.started_at), date_part('epoch', now()) - $1::bigint,
                                          date_part('epoch', now()) + 1, $2::bigint::int), $2::bigint)::bigint AS step,
                       x.started_at, x.counts -> 'posts' AS posts
                  FROM healer.run x
                 WHERE x.pass = 'heal' AND x.started_at > now() - make_interval(secs => $1::bigint)
                   AND jsonb_typeof(x.counts -> 'posts') = 'object'
                 ORDER BY x.started_at DESC LIMIT 20000) r
         ORDER BY r.step, r.started_at DESC) l
 CROSS JOIN LATERAL jsonb_each(l.posts) c
 ORDER BY 1, 2
