-- Posts that are due and wait, at most 100,000.
-- Parameters: none.
-- Columns: posts, oldest_s, median_s (seconds since they were due).
SELECT count(*) AS posts, max(w.age)::bigint AS oldest_s, (percentile_cont(0.5) WITHIN GROUP (ORDER BY w.age))::bigint AS median_s
  FROM (SELECT extract(epoch FROM now() - coalesce({scheduled_at}, {created_at})) AS age
          FROM {posts} p
         WHERE p.{status} IN ({waiting_words}) AND coalesce({scheduled_at}, {created_at}) <= now()
           AND isfinite(coalesce({scheduled_at}, {created_at}))
         LIMIT 100000) w
