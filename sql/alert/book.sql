-- Alerts that are open, and those of the last week whose end some channel has not heard of; beside each the time, and when
-- each pass last came to its end and since when it is run. One row without an alert where there is none.
-- Parameters: $1 text[] passes. At most 1,000 alerts, the oldest first.
-- Columns: now, passes (JSON: pass, age_s (NULL: never), first_s (NULL: never run)), id, fingerprint, pass, key, check_name,
--   severity, title, detail, next_step, run_id, opened_at, last_seen, times, resolved_at, channels.
SELECT w.now, w.passes, a.id, a.fingerprint, a.pass, a.key, a.check_name, a.severity, a.title, a.detail, a.next_step, a.run_id,
       a.opened_at, a.last_seen, a.times, a.resolved_at, a.channels
  FROM (SELECT clock_timestamp() AS now,
               jsonb_agg(jsonb_build_object('pass', p.pass,
                 'age_s', (SELECT extract(epoch FROM now() - r.finished_at)::bigint FROM healer.run r
                            WHERE r.pass = p.pass AND r.status IN ('ok', 'partial') ORDER BY r.started_at DESC LIMIT 1),
                 'first_s', (SELECT extract(epoch FROM now() - r.started_at)::bigint FROM healer.run r
                              WHERE r.pass = p.pass ORDER BY r.started_at LIMIT 1))) AS passes
          FROM unnest($1::text[]) AS p (pass)) w
  LEFT JOIN LATERAL (
    SELECT b.*
      FROM healer.alert b
     WHERE b.resolved_at IS NULL
        OR b.resolved_at > now() - interval '7 days'
           AND EXISTS (SELECT 1 FROM jsonb_each(b.channels) c
                        WHERE NOT coalesce((c.value ->> 'resolved')::boolean, false)
                          AND (c.value ->> 'at' IS NOT NULL OR coalesce((c.value ->> 'owed')::boolean, false)))
     ORDER BY b.opened_at, b.id
     LIMIT 1000) a ON true
 ORDER BY a.opened_at, a.id
