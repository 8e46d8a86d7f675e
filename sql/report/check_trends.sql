-- What each check found over time, in steps of equal length: the most of each step.
-- Parameters: $1 bigint seconds to look back; $2 bigint steps; $3 text[] passes. Looks at the newest 20,000 runs at most.
-- Columns: name, step (1 is the oldest), found (NULL: not measured), critical (whether it ever was).
SELECT c.value ->> 'name' AS name,
       least(width_bucket(date_part('epoch', r.started_at), date_part('epoch', now()) - $1::bigint,
                          date_part('epoch', now()) + 1, $2::bigint::int), $2::bigint)::bigint AS step,
       max(CASE WHEN jsonb_typeof(c.value -> 'found') = 'number' THEN (c.value ->> 'found')::numeric END)::bigint AS found,
       bool_or(c.value ->> 'status' = 'critical') AS critical
  FROM (SELECT x.started_at, x.checks FROM healer.run x
         WHERE x.started_at > now() - make_interval(secs => $1::bigint) AND jsonb_typeof(x.checks) = 'array'
           AND x.pass = ANY ($3::text[])
         ORDER BY x.started_at DESC LIMIT 20000) r
 CROSS JOIN LATERAL jsonb_array_elements(r.checks) c
 WHERE c.value ->> 'name' IS NOT NULL
 GROUP BY 1, 2
 ORDER BY 1, 2
