-- Takes the turn of telling alerts, if nobody has it, and keeps others from entering theirs until COMMIT.
-- Parameters: $1 text token; $2 bigint seconds after which the turn is free again.
-- Columns: ours, now.
INSERT INTO healer.setting AS s (name, value, updated_at)
VALUES ('alert-turn',
        jsonb_build_object('token', $1::text, 'until', extract(epoch FROM clock_timestamp())::bigint + $2::bigint),
        clock_timestamp())
ON CONFLICT (name) DO UPDATE
   SET value = CASE WHEN (s.value ->> 'until')::bigint <= extract(epoch FROM clock_timestamp())::bigint
                    THEN excluded.value ELSE s.value END,
       updated_at = clock_timestamp()
RETURNING s.value ->> 'token' = $1::text AS ours, clock_timestamp() AS now
