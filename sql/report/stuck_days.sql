-- Posts that were found stuck on each of the last 30 days, by what was done about them: rescued, confirmed, failed, held.
-- Parameters: none.
-- Columns: day (UTC), posts.
SELECT to_char(f.at, 'YYYY-MM-DD') AS day, count(DISTINCT f.post) AS posts
  FROM (SELECT a.applied_at AS at, a.target AS post FROM healer.action a
         WHERE a.check_name = 'stuck-posts' AND a.applied_at > now() - interval '30 days'
        UNION ALL
        SELECT h.held_at, h.post FROM healer.held_post h
         WHERE h.check_name = 'stuck-posts' AND h.held_at > now() - interval '30 days') f
 GROUP BY 1
 ORDER BY 1 DESC
