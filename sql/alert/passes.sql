-- When each pass last came to its end, and since when it is run.
-- Parameters: $1 text[] passes.
-- Columns: pass, age_s (NULL: never), first_s (NULL: never run), now.
SELECT w.pass, (SELECT extract(epoch FROM now() - r.finished_at)::bigint FROM healer.run r
                 WHERE r.pass = w.pass AND r.exit_code IN (0, 3, 4) ORDER BY r.started_at DESC LIMIT 1) AS age_s,
       (SELECT extract(epoch FROM now() - r.started_at)::bigint FROM healer.run r
         WHERE r.pass = w.pass ORDER BY r.started_at LIMIT 1) AS first_s,
       clock_timestamp() AS now
  FROM unnest($1::text[]) AS w (pass)
