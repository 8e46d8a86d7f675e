-- How long posts normally take from approval to use, by the attempts of the last 7 days (of those created up to a day
-- before that: an index serves the time of creation).
-- {post_attempts_lately}: that condition, where the time of creation is known.
-- Columns: posts, p95_s, p99_s.
SELECT count(*) AS posts,
       (percentile_disc(0.95) WITHIN GROUP (ORDER BY d.s))::bigint AS p95_s,
       (percentile_disc(0.99) WITHIN GROUP (ORDER BY d.s))::bigint AS p99_s
  FROM (
   SELECT extract(epoch FROM {post_attempts_used_at} - {post_attempts_approved_at}) AS s
     FROM {post_attempts} r
    WHERE {post_attempts_used_at} >= {post_attempts_approved_at} AND isfinite({post_attempts_used_at})
      AND {post_attempts_approved_at} > now() - interval '7 days'{post_attempts_lately}
    LIMIT 10000
  ) d
