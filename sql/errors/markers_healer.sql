-- Branch of errors/markers: settings that healer changed, and its runs that changed posts.
SELECT a.applied_at AS at, 'setting'::text AS kind, left('healer changed ' || a.target, 200) AS title
  FROM healer.action a
 WHERE a.applied_at > {errors_since} AND a.applied_at <= {errors_until} AND a.relation = 'healer.setting'
UNION ALL
SELECT r.finished_at, 'healing', format('healer heal run %s changed %s posts', r.id, r.counts ->> 'applied')
  FROM healer.run r
 WHERE r.pass = 'heal' AND r.started_at > {errors_since} AND r.finished_at <= {errors_until} AND r.counts ->> 'applied' ~ '^[1-9]'
