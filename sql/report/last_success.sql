-- When each pass last came to its end, whatever it met on the way: `heal`, and the others where they were ever run.
-- Parameters: $1 text[] passes, the first of which is always listed.
-- Columns: pass, age_s (NULL: never), first_s (since when it is run; NULL: never), duration_ms, exit_code, run (of the last
--   recorded run that ended; NULL: none), run_age_s.
SELECT w.pass, extract(epoch FROM now() - good.finished_at)::bigint AS age_s,
       extract(epoch FROM now() - first.started_at)::bigint AS first_s,
       (extract(epoch FROM last.finished_at - last.started_at) * 1000)::bigint AS duration_ms,
       last.exit_code::bigint AS exit_code, last.id AS run, extract(epoch FROM now() - last.finished_at)::bigint AS run_age_s
  FROM unnest($1::text[]) WITH ORDINALITY AS w (pass, place)
  LEFT JOIN LATERAL (SELECT r.finished_at FROM healer.run r WHERE r.pass = w.pass AND r.status IN ('ok', 'partial')
                      ORDER BY r.started_at DESC LIMIT 1) good ON true
  LEFT JOIN LATERAL (SELECT r.started_at FROM healer.run r WHERE r.pass = w.pass
                      ORDER BY r.started_at LIMIT 1) first ON true
  LEFT JOIN LATERAL (SELECT r.id, r.started_at, r.finished_at, r.exit_code FROM healer.run r
                      WHERE r.pass = w.pass AND r.finished_at IS NOT NULL ORDER BY r.started_at DESC LIMIT 1) last ON true
 WHERE w.place = 1 OR first.started_at IS NOT NULL
 ORDER BY w.place
