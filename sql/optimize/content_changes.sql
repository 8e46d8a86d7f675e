-- The runs that changed weights, and whether that was taken back.
-- Parameters: $1 bigint days.
-- Columns: run, subject (generators, formats, hours), at, undone_at.
SELECT a.run_id AS run, a.check_name AS subject, min(a.applied_at) AS at, max(a.undone_at) AS undone_at
  FROM healer.action a
 WHERE a.type = 'weight_update' AND a.check_name IN ('generators', 'formats', 'hours')
   AND a.applied_at > now() - make_interval(days => $1::bigint::int)
 GROUP BY a.run_id, a.check_name
 ORDER BY a.run_id
