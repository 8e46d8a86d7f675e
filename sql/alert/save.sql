-- Enters alerts as a pass saw them: new ones, seen again, gone. Of what channels were told the newer counts: another pass
-- may have told them meanwhile, or a spool knows what the database does not.
-- Parameters: $1 text a JSON array of alerts.
-- Columns: id, pass, key (of the new ones).
WITH given AS (
  SELECT * FROM jsonb_to_recordset($1::text::jsonb) AS g (
    id bigint, fingerprint text, pass text, key text, "check" text, severity text, title text, detail text,
    next_step text, run_id bigint, opened_at timestamptz, last_seen timestamptz, times bigint, resolved_at timestamptz,
    last_sent timestamptz, reminders int, channels jsonb)
), changed AS (
  UPDATE healer.alert a
     SET severity = g.severity, title = g.title, detail = g.detail, next_step = g.next_step, run_id = g.run_id,
         last_seen = g.last_seen, times = g.times, resolved_at = g.resolved_at,
         -- What came back is news again to the channels that had heard of its end.
         channels = CASE WHEN a.resolved_at IS NOT NULL AND g.resolved_at IS NULL THEN g.channels
                         ELSE g.channels || a.channels || coalesce(
                           (SELECT jsonb_object_agg(c.key, c.value) FROM jsonb_each(g.channels) c
                             WHERE (c.value ->> 'at')::timestamptz > coalesce((a.channels -> c.key ->> 'at')::timestamptz, '-infinity')
                                OR (c.value ->> 'resolved')::boolean), '{}') END,
         last_sent = greatest(a.last_sent, g.last_sent)
    FROM given g
   WHERE a.id = g.id
  RETURNING 1
)
INSERT INTO healer.alert AS a (fingerprint, pass, key, check_name, severity, title, detail, next_step, run_id, opened_at,
  last_seen, times, resolved_at, last_sent, reminders, channels)
SELECT g.fingerprint, g.pass, g.key, g."check", g.severity, g.title, g.detail, g.next_step, g.run_id, g.opened_at,
       g.last_seen, g.times, g.resolved_at, g.last_sent, coalesce(g.reminders, 0), g.channels
  FROM given g
 WHERE g.id IS NULL
ON CONFLICT (pass, key) WHERE resolved_at IS NULL
DO UPDATE SET last_seen = excluded.last_seen, channels = excluded.channels || a.channels
RETURNING a.id, a.pass, a.key
