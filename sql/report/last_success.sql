-- When each pass last completed.
-- Parameters: none.
-- Columns: pass, age_s (NULL: never), first_s (since when it is run; NULL: never).
SELECT w.pass, (SELECT extract(epoch FROM now() - max(r.finished_at))::bigint FROM healer.run r
                 WHERE r.pass = w.pass AND r.exit_code IN (0, 3, 4)) AS age_s,
       (SELECT extract(epoch FROM now() - min(r.started_at))::bigint FROM healer.run r WHERE r.pass = w.pass) AS first_s
  FROM unnest(ARRAY['heal']) AS w (pass)
