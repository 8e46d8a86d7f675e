-- How many posts wait or are posting, by their status, and how many are failed.
-- Parameters: none. Counts at most 30,000 that wait and 10,000 that are failed.
-- Columns: status, posts.
SELECT o.status, count(*) AS posts
  FROM (SELECT p.{status}::text AS status FROM {posts} p WHERE p.{status} IN ({open_words}) LIMIT 30000) o
 GROUP BY 1
UNION ALL
SELECT {failed}::text, (SELECT count(*) FROM (SELECT 1 FROM {posts} p WHERE p.{status} = {failed} LIMIT 10000) f)
