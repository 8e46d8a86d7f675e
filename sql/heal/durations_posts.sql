-- How long posts normally take from the claim to being posted, by the posts of the last 7 days.
-- Columns: posts, p95_s, p99_s.
SELECT count(*) AS posts,
       (percentile_disc(0.95) WITHIN GROUP (ORDER BY d.s))::bigint AS p95_s,
       (percentile_disc(0.99) WITHIN GROUP (ORDER BY d.s))::bigint AS p99_s
  FROM (
   SELECT extract(epoch FROM {posted_at} - {claimed_at}) AS s
     FROM {posts} p
    WHERE {is_posted} AND p.{posted_at_column} > {posted_at_now} - interval '7 days'
      AND {posted_at} >= {claimed_at} AND isfinite({posted_at}) AND isfinite({claimed_at})
    ORDER BY p.{posted_at_column} DESC
    LIMIT 10000
  ) d
