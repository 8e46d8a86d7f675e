-- How many posts are queued, ready or posting, counted up to a bound.
-- Parameters: $1 bigint the bound.
-- Columns: posts.
SELECT count(*) AS posts
  FROM (SELECT 1 FROM {posts} p WHERE p.{status} IN ({open_words}) LIMIT $1::bigint) o
