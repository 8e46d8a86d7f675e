-- Since when nothing was posted while posts were ready, what is usual at this hour of the week, and where posts stop.
-- What is usual: at this time of each of the weeks before and half an hour around it, how long nothing had been posted;
-- each of these is one step into the index of the time of posting.
-- {attempts}: attempts since the last post, or NULL where no ledger tells.
-- Parameters: $1 bigint weeks to look back.
-- Columns: silent_s (NULL: never posted), future (posted in the future), ready, oldest_ready_s, planned, claimed, attempted,
--   posted_day, usual_s (NULL: not learned), weeks (in which something had been posted before that time).
WITH last AS MATERIALIZED (
  SELECT max({posted_at}) AS at FROM {posts} p
   WHERE {is_posted} AND p.{posted_at_column} <= {posted_at_now}
), ready AS MATERIALIZED (
  SELECT count(*) FILTER (WHERE w.due <= now()) AS ready, min(w.due) FILTER (WHERE w.due <= now()) AS oldest,
         count(*) FILTER (WHERE w.due > now()) AS planned
    -- What is planned for before all time is due since it was written.
    FROM (SELECT coalesce(nullif({scheduled_at}, '-infinity'), nullif({created_at}, '-infinity'), now()) AS due
            FROM {posts} p WHERE p.{status} IN ({waiting_words}) LIMIT 10000) w
), usual AS MATERIALIZED (
  SELECT w.week, max(s.silent_s) AS silent_s
    FROM generate_series(1, $1::bigint) AS w (week)
   CROSS JOIN generate_series(-2, 2) AS q (quarter)
   CROSS JOIN LATERAL (SELECT now() - w.week * interval '7 days' + q.quarter * interval '15 minutes' AS at) t
   CROSS JOIN LATERAL (SELECT max({posted_at}) AS before FROM {posts} p
            WHERE {is_posted} AND p.{posted_at_column} <= {silence_then}) b
   CROSS JOIN LATERAL (SELECT CASE WHEN isfinite(b.before) THEN extract(epoch FROM t.at - b.before)::bigint END AS silent_s) s
   WHERE s.silent_s IS NOT NULL
   GROUP BY w.week
)
SELECT (SELECT CASE WHEN isfinite(l.at) THEN extract(epoch FROM now() - l.at)::bigint END FROM last l) AS silent_s,
       (SELECT count(*) FROM (SELECT 1 FROM {posts} p
         WHERE {is_posted} AND p.{posted_at_column} > {posted_at_now} + interval '1 minute' LIMIT 1000) f) AS future,
       r.ready, CASE WHEN isfinite(r.oldest) THEN extract(epoch FROM now() - r.oldest)::bigint END AS oldest_ready_s, r.planned,
       (SELECT count(*) FROM (SELECT 1 FROM {posts} p WHERE p.{status} = {posting} LIMIT 10000) c) AS claimed,
       {attempts} AS attempted,
       (SELECT count(*) FROM (SELECT 1 FROM {posts} p WHERE {is_posted}
           AND p.{posted_at_column} > {posted_at_now} - interval '1 day' AND p.{posted_at_column} <= {posted_at_now}
         -- The order names the index: statistics of a time when all posts were of one day would choose another one.
         ORDER BY p.{posted_at_column} DESC LIMIT 10000) d) AS posted_day,
       (SELECT (percentile_cont(0.5) WITHIN GROUP (ORDER BY u.silent_s))::bigint FROM usual u) AS usual_s,
       (SELECT count(*) FROM usual u) AS weeks
  FROM ready r
