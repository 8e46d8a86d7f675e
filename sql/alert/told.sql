-- Enters what one channel was told.
-- Parameters: $1 text channel; $2 text a JSON array of {id, told}.
-- Columns: id.
UPDATE healer.alert a
   SET channels = a.channels || jsonb_build_object($1::text, g.told),
       last_sent = greatest(a.last_sent, (g.told ->> 'at')::timestamptz),
       reminders = greatest(a.reminders, (g.told ->> 'reminders')::int)
  FROM jsonb_to_recordset($2::text::jsonb) AS g (id bigint, told jsonb)
 WHERE a.id = g.id
RETURNING a.id
