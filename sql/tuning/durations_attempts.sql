-- How long posts of each type took from approval to use, by the attempts of 14 days that did not fail.
-- Parameters: none.
-- Columns: kind, posts, p99_s.
SELECT d.kind, count(*) AS posts, percentile_cont(0.99) WITHIN GROUP (ORDER BY d.s) AS p99_s
  FROM (
   SELECT {type} AS kind, h.s
     FROM (SELECT r.{post_attempts_key}::text AS post,
                  extract(epoch FROM {post_attempts_used_at} - {post_attempts_approved_at})::double precision AS s
             FROM {post_attempts} r
            WHERE {post_attempts_used_at} >= {post_attempts_approved_at} AND isfinite({post_attempts_used_at})
              AND {post_attempts_used_at} <= now() AND {post_attempts_approved_at} > now() - interval '14 days'{post_attempts_of_15_days}
              AND coalesce({post_attempts_success}, true)
            LIMIT 20000) h
     JOIN {posts} p ON p.{id} = {held_match}
  ) d
 WHERE d.kind IS NOT NULL
 GROUP BY d.kind
 ORDER BY count(*) DESC
 LIMIT 20
