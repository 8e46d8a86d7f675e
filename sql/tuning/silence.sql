-- How long it normally takes from one post to the next, of 14 days.
-- Parameters: none.
-- Columns: gaps, p95_s.
SELECT count(*) AS gaps, percentile_cont(0.95) WITHIN GROUP (ORDER BY g.s) AS p95_s
  FROM (SELECT extract(epoch FROM d.at - lag(d.at) OVER (ORDER BY d.at))::double precision AS s
          FROM (SELECT {posted_at} AS at FROM {posts} p
                 WHERE {is_posted} AND p.{posted_at_column} > {posted_at_now} - interval '14 days'
                   AND p.{posted_at_column} <= {posted_at_now}
                 ORDER BY p.{posted_at_column} DESC
                 LIMIT 20000) d) g
 WHERE g.s >= 0
