-- What the runs counted over time, in steps of equal length.
-- Parameters: $1 bigint seconds to look back; $2 bigint steps; $3 text[] passes. Looks at the newest 20,000 runs at most.
-- Columns: pass, step (1 is the oldest), runs, failed (runs that did not come to their end), changed, refused, held,
--   duration_ms (mean).
SELECT r.pass, least(width_bucket(date_part('epoch', r.started_at), date_part('epoch', now()) - $1::bigint,
                                  date_part('epoch', now()) + 1, $2::bigint::int), $2::bigint)::bigint AS step,
       count(*) AS runs, count(*) FILTER (WHERE r.exit_code IS NULL OR r.exit_code NOT IN (0, 3, 4)) AS failed,
       coalesce(sum(CASE WHEN jsonb_typeof(r.counts -> 'applied') = 'number' THEN (r.counts ->> 'applied')::bigint END), 0)::bigint AS changed,
       coalesce(sum(CASE WHEN jsonb_typeof(r.counts -> 'failed') = 'number' THEN (r.counts ->> 'failed')::bigint END), 0)::bigint AS refused,
       max(CASE WHEN jsonb_typeof(r.counts -> 'held') = 'number' THEN (r.counts ->> 'held')::bigint END) AS held,
       (avg(extract(epoch FROM r.finished_at - r.started_at)) * 1000)::bigint AS duration_ms
  FROM (SELECT x.pass, x.started_at, x.finished_at, x.exit_code, x.counts FROM healer.run x
         WHERE x.started_at > now() - make_interval(secs => $1::bigint)
           AND x.pass = ANY ($3::text[])
         ORDER BY x.started_at DESC LIMIT 20000) r
 GROUP BY 1, 2
 ORDER BY 1, 2
