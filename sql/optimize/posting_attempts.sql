-- How long posts take from the claim to being posted, by the attempts of the last 7 days, and by type.
-- Parameters: none.
-- Columns: type (NULL: all), n, median_ms, p95_ms.
SELECT d.type, count(*) AS n,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY d.ms) AS median_ms, percentile_cont(0.95) WITHIN GROUP (ORDER BY d.ms) AS p95_ms
  FROM (SELECT coalesce((SELECT {type} FROM {posts} p WHERE p.{id} = {attempt_match}), '?') AS type,
               (extract(epoch FROM {post_attempts_used_at} - {post_attempts_approved_at}) * 1000)::double precision AS ms
          FROM {post_attempts} r
         WHERE {post_attempts_used_at} >= {post_attempts_approved_at} AND isfinite({post_attempts_used_at})
           AND {post_attempts_approved_at} > now() - interval '7 days'
         LIMIT 10000) d
 GROUP BY GROUPING SETS ((), (d.type))
 LIMIT 100
