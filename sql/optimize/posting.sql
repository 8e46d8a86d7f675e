-- How posting goes: what was finished, how it ended, and how long it took, over a day and a week, by type and by hour (UTC).
-- {finished_claim}: when a posted post was claimed, where a column keeps that; else NULL.
-- {failed_words}: the words of the status that mean given up.
-- Parameters: none.
-- Columns: span (day or week), type, hour (both NULL: all), posted, failed, mean_ms, median_ms, p95_ms (from the planned time to
--   posted), early (posted before it was planned), claim_n, claim_median_ms, claim_p95_ms (from the claim to posted), ahead.
WITH finished AS MATERIALIZED (
  SELECT true AS posted, coalesce({type}, '?') AS type, {posted_at} AS at,
         (extract(epoch FROM {posted_at} - {scheduled_at}) * 1000)::double precision AS took,
         (extract(epoch FROM {posted_at} - {finished_claim}) * 1000)::double precision AS worked
    FROM {posts} p
   WHERE {is_posted} AND p.{posted_at_column} > {posted_at_now} - interval '7 days' AND isfinite({posted_at})
     AND {posted_at} <= now() + interval '1 minute'
  UNION ALL
  SELECT false, coalesce({type}, '?'), coalesce({changed_at}, {created_at}), NULL, NULL
    FROM {posts} p
   WHERE p.{status} IN ({failed_words}) AND coalesce({changed_at}, {created_at}) > now() - interval '7 days'
     AND coalesce({changed_at}, {created_at}) <= now() + interval '1 minute'
), spans AS (
  SELECT 'day' AS span, f.* FROM finished f WHERE f.at > now() - interval '1 day'
)
SELECT 'day'::text AS span, s.type, NULL::bigint AS hour, count(*) FILTER (WHERE s.posted) AS posted,
       count(*) FILTER (WHERE NOT s.posted) AS failed,
       avg(s.took) FILTER (WHERE s.took >= 0) AS mean_ms,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY s.took) FILTER (WHERE s.took >= 0) AS median_ms,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY s.took) FILTER (WHERE s.took >= 0) AS p95_ms,
       count(*) FILTER (WHERE s.took < 0) AS early, count(*) FILTER (WHERE s.worked >= 0) AS claim_n,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY s.worked) FILTER (WHERE s.worked >= 0) AS claim_median_ms,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY s.worked) FILTER (WHERE s.worked >= 0) AS claim_p95_ms
  FROM spans s
 GROUP BY GROUPING SETS ((), (s.type))
UNION ALL
SELECT 'week', w.type, w.hour::bigint, count(*) FILTER (WHERE w.posted), count(*) FILTER (WHERE NOT w.posted),
       avg(w.took) FILTER (WHERE w.took >= 0),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY w.took) FILTER (WHERE w.took >= 0),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY w.took) FILTER (WHERE w.took >= 0),
       count(*) FILTER (WHERE w.took < 0), count(*) FILTER (WHERE w.worked >= 0),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY w.worked) FILTER (WHERE w.worked >= 0),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY w.worked) FILTER (WHERE w.worked >= 0)
  FROM (SELECT f.*, extract(hour FROM f.at) AS hour FROM finished f) w
 GROUP BY GROUPING SETS ((), (w.type), (w.hour))
 LIMIT 500
