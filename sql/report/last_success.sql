-- When each pass last completed.
-- Parameters: none.
-- Columns: pass, age_s (NULL: never), ever_run.
SELECT w.pass, (SELECT extract(epoch FROM now() - max(r.finished_at))::bigint FROM healer.run r
                 WHERE r.pass = w.pass AND r.exit_code IN (0, 3, 4)) AS age_s,
       EXISTS (SELECT 1 FROM healer.run r WHERE r.pass = w.pass) AS ever_run
  FROM unnest(ARRAY['heal']) AS w (pass)
