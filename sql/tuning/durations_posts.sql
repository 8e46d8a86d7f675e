-- How long posts of each type took from the claim to being posted, of 14 days.
-- Parameters: none.
-- Columns: kind, posts, p99_s.
SELECT d.kind, count(*) AS posts, percentile_cont(0.99) WITHIN GROUP (ORDER BY d.s) AS p99_s
  FROM (
   SELECT {type} AS kind, extract(epoch FROM {posted_at} - {claimed_at})::double precision AS s
     FROM {posts} p
    WHERE {is_posted} AND p.{posted_at_column} > {posted_at_now} - interval '14 days'
      AND p.{posted_at_column} <= {posted_at_now}
      AND {posted_at} >= {claimed_at} AND isfinite({posted_at}) AND isfinite({claimed_at})
    ORDER BY p.{posted_at_column} DESC
    LIMIT 20000
  ) d
 WHERE d.kind IS NOT NULL
 GROUP BY d.kind
 ORDER BY count(*) DESC
 LIMIT 20
