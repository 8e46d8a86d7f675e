-- The last move of each limit that healer learned and nobody took back.
-- Parameters: none.
-- Columns: name (with its prefix), reason, age_s, run, locked.
SELECT s.name, a.reason, extract(epoch FROM now() - a.applied_at)::bigint AS age_s, a.run_id AS run, s.locked
  FROM healer.setting s
 CROSS JOIN LATERAL (SELECT x.reason, x.applied_at, x.run_id FROM healer.action x
                      WHERE x.target = s.name AND x.relation = 'healer.setting' AND x.undone_at IS NULL AND x.type <> 'undo'
                      ORDER BY x.applied_at DESC LIMIT 1) a
 WHERE s.name >= 'tuned.' AND s.name < 'tuned/'
 ORDER BY s.name
 LIMIT 200
