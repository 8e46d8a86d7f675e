-- Alerts that are open, the gravest first.
-- Parameters: $1 bigint how many to list.
-- Columns: pass, key, severity, title, next_step, age_s, seen_s, times, reminders, sent_s (NULL: told to nobody), total,
--   critical, errors, warnings, infos (of all that are open, listed or not).
SELECT a.pass, a.key, a.severity, a.title, a.next_step, extract(epoch FROM now() - a.opened_at)::bigint AS age_s,
       extract(epoch FROM now() - a.last_seen)::bigint AS seen_s, a.times, a.reminders::bigint AS reminders,
       extract(epoch FROM now() - a.last_sent)::bigint AS sent_s, count(*) OVER () AS total,
       count(*) FILTER (WHERE a.severity = 'critical') OVER () AS critical,
       count(*) FILTER (WHERE a.severity = 'error') OVER () AS errors,
       count(*) FILTER (WHERE a.severity = 'warning') OVER () AS warnings,
       count(*) FILTER (WHERE a.severity = 'info') OVER () AS infos
  FROM healer.alert a
 WHERE a.resolved_at IS NULL
 ORDER BY array_position(ARRAY['critical', 'error', 'warning'], a.severity), a.opened_at, a.id
 LIMIT $1::bigint
