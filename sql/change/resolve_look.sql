-- A held post: why it is held, and what it is now.
-- Parameters: $1 text post.
-- Columns: code, reason, held_status, held_at, status, real (whether its external id is a real one), orphan, marks,
--   posted_at (the time of the claim, where it is one), claimed_at, first_time.
SELECT h.code, h.reason, h.status AS held_status, h.held_at, p.{status}::text AS status,
       coalesce(p.{external_id}::text ~ {real}, false) AS real, {orphan} AS orphan,
       {marks} AS marks, CASE WHEN isfinite({claimed_at}) THEN {claimed_at} END AS posted_at, {claimed_at} AS claimed_at,
       coalesce({created_at}, {claimed_at}, h.held_at) AS first_time
  FROM healer.held_post h
  LEFT JOIN {posts} p ON p.{id} = {held_match}
 WHERE h.post = $1::text AND h.resolved_at IS NULL
