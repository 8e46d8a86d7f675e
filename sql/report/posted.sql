-- Posts that were posted, in steps of equal length.
-- Parameters: $1 bigint seconds to look back; $2 bigint steps. Counts the newest 100,000 at most.
-- Columns: step (1 is the oldest), posts, total (of all steps).
SELECT t.step, t.posts, sum(t.posts) OVER ()::bigint AS total
  FROM (SELECT least(width_bucket(date_part('epoch', x.at), date_part('epoch', now()) - $1::bigint,
                                  date_part('epoch', now()) + 1, $2::bigint::int), $2::bigint)::bigint AS step,
               count(*) AS posts
          FROM (SELECT {posted_at} AS at FROM {posts} p
                 WHERE {is_posted} AND p.{posted_at_column} > {posted_at_now} - make_interval(secs => $1::bigint)
                   AND p.{posted_at_column} <= {posted_at_now}
                 ORDER BY p.{posted_at_column} DESC LIMIT 100000) x
         GROUP BY 1) t
 ORDER BY t.step
