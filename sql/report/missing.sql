-- Posts of the window that have no real id.
-- Parameters: none. Counts at most 10,000 of them.
-- Columns: posts.
SELECT count(*) AS posts
  FROM (SELECT 1 FROM {posts} p
         WHERE {is_posted} AND p.{posted_at_column} > {posted_at_now} - {window}
           AND (p.{external_id} IS NULL OR p.{external_id}::text !~ {real}) LIMIT 10000) m
