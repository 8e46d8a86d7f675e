-- How much of its final engagement a post has after how many hours, where outcomes are collected more than once.
-- Parameters: none.
-- Columns: hours (even numbers), posts, share (the median of engagement then over engagement at the last collection,
--   which is at least 72 hours old).
WITH looks AS (
  SELECT o.{outcome_key}::text AS post, date_part('epoch', {collected_at} - {posted_at}) / 3600 AS hours,
         {likes} + 2 * {retweets} + 3 * {replies} AS engagement
    FROM {posts} p
    JOIN {outcome_rows} o ON {outcome_match}
   WHERE {is_posted} AND {posted_at} >= now() - {content_window} AND {collected_at} >= {posted_at}
), last AS (
  SELECT DISTINCT ON (l.post) l.post, l.engagement FROM looks l
   WHERE l.hours >= 72 AND l.engagement > 0 ORDER BY l.post, l.hours DESC
)
SELECT (2 * floor(l.hours / 2))::bigint AS hours, count(DISTINCT l.post) AS posts,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY l.engagement / f.engagement) AS share
  FROM looks l JOIN last f ON f.post = l.post
 WHERE l.hours < 168 AND l.engagement IS NOT NULL
 GROUP BY 1 ORDER BY 1
