-- Alerts that are open, and those of the last week whose end some channel has not heard of.
-- Parameters: none. At most 1,000 of them, the oldest first.
-- Columns: id, fingerprint, pass, key, check_name, severity, title, detail, next_step, run_id, opened_at, last_seen, times,
--   resolved_at, channels.
SELECT a.id, a.fingerprint, a.pass, a.key, a.check_name, a.severity, a.title, a.detail, a.next_step, a.run_id, a.opened_at,
       a.last_seen, a.times, a.resolved_at, a.channels
  FROM healer.alert a
 WHERE a.resolved_at IS NULL
    OR a.resolved_at > now() - interval '7 days'
       AND EXISTS (SELECT 1 FROM jsonb_each(a.channels) c
                    WHERE NOT coalesce((c.value ->> 'resolved')::boolean, false)
                      AND (c.value ->> 'at' IS NOT NULL OR coalesce((c.value ->> 'owed')::boolean, false)))
 ORDER BY a.opened_at, a.id
 LIMIT 1000
