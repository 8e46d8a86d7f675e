-- Finished posts over time, as `optimize performance` noted them: the last note of each step, and each is of the 24 hours
-- before it. Only the notes that are shown are opened: each is a document.
-- Parameters: $1 bigint seconds to look back; $2 bigint steps. Looks at the newest 20,000 notes at most.
-- Columns: step (1 is the oldest), posted, failed (both NULL where it was not measured).
SELECT l.step,
       CASE WHEN jsonb_typeof(p.body -> 'posting' -> 'day' -> 'posted') = 'number'
            THEN (p.body -> 'posting' -> 'day' ->> 'posted')::double precision END AS posted,
       CASE WHEN jsonb_typeof(p.body -> 'posting' -> 'day' -> 'failed') = 'number'
            THEN (p.body -> 'posting' -> 'day' ->> 'failed')::double precision END AS failed
  FROM (SELECT DISTINCT ON (n.step) n.step, n.id
          FROM (SELECT least(width_bucket(date_part('epoch', x.at), date_part('epoch', now()) - $1::bigint,
                                          date_part('epoch', now()) + 1, $2::bigint::int), $2::bigint)::bigint AS step,
                       x.id, x.at
                  FROM healer.performance_sample x
                 WHERE x.at > now() - make_interval(secs => $1::bigint)
                 ORDER BY x.at DESC LIMIT 20000) n
         ORDER BY n.step, n.at DESC) l
  JOIN healer.performance_sample p ON p.id = l.id
 ORDER BY 1
