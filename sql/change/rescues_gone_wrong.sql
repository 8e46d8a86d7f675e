-- Of the posts rescued in the last 6 hours (the newest 1,000): how many failed or got stuck again.
-- Parameters: none.
-- Columns: rescued, gone_wrong.
WITH rescued AS (
  SELECT a.target, count(*) AS times
    FROM (SELECT target FROM healer.action
           WHERE action = 'reset_status_to_queued' AND applied_at > now() - interval '6 hours' AND undone_at IS NULL
           ORDER BY applied_at DESC LIMIT 1000) a
   GROUP BY a.target
)
SELECT count(*) AS rescued,
       count(*) FILTER (WHERE r.times > 1 OR p.{status} = {failed}
                           OR (p.{status} = {posting} AND {claimed_at} < now() - {limit})) AS gone_wrong
  FROM rescued r
  LEFT JOIN {posts} p ON p.{id} = {target_match}
