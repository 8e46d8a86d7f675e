-- How long the posts that are posting now have been posting.
-- Parameters: none. Counts at most 100,000 of them.
-- Columns: bucket (upper bound in seconds, NULL for more or unknown), posts, stuck.
SELECT CASE WHEN a.s < 600 THEN 600 WHEN a.s < 1800 THEN 1800 WHEN a.s < 3600 THEN 3600 WHEN a.s < 21600 THEN 21600
            WHEN a.s < 86400 THEN 86400 WHEN a.s < 604800 THEN 604800 END::bigint AS bucket,
       count(*) AS posts, count(*) FILTER (WHERE a.stuck) AS stuck
  FROM (SELECT CASE WHEN isfinite({claimed_at}) THEN extract(epoch FROM now() - {claimed_at}) END AS s, coalesce({claimed_at} < now() - {limit}, true) AS stuck
          FROM {posts} p WHERE p.{status} = {posting} LIMIT 100000) a
 GROUP BY 1
 ORDER BY 1 NULLS LAST
