-- Posts that failed in the last 24 hours because of a rate limit, by their error text, and the hour with the most.
-- Parameters: none.
-- Columns: hits, busiest.
WITH hits AS (
  SELECT date_trunc('hour', {changed_at}) AS hour
    FROM {posts} p
   WHERE p.{status} IN ({failed_words}) AND {changed_at} > now() - interval '24 hours' AND {changed_at} <= now()
     AND left({last_error}, 500) ~* '(^|[^0-9])429([^0-9]|$)|too many requests|rate.?limit (exceeded|hit|reached)'
)
SELECT count(*) AS hits, coalesce((SELECT max(h.n) FROM (SELECT count(*) AS n FROM hits GROUP BY hour) h), 0)::bigint AS busiest
  FROM hits
