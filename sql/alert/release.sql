-- Gives the turn of telling alerts back.
-- Parameters: $1 text token.
-- Columns: name.
UPDATE healer.setting s SET value = jsonb_build_object('token', '', 'until', 0), updated_at = clock_timestamp()
 WHERE s.name = 'alert-turn' AND s.value ->> 'token' = $1::text
RETURNING s.name
