-- With which weights posts were chosen, oldest first.
-- Parameters: $1 bigint days. The last one before them is given too: it was in force when they began.
-- Columns: at, run (NULL: only noticed), generators, formats, hours.
SELECT w.at, w.run_id AS run, w.generators, w.formats, w.hours
  FROM healer.content_weights w
 WHERE w.at >= coalesce((SELECT max(x.at) FROM healer.content_weights x
                          WHERE x.at < now() - make_interval(days => $1::bigint::int)), '-infinity')
 ORDER BY w.id
