-- Keeps what healer has to remember from run to run. Nothing that anybody reads as a weight: it is not journalled.
-- Parameters: $1 text name; $2 text value as JSON.
-- Columns: name.
INSERT INTO healer.setting AS s (name, value) VALUES ($1::text, $2::text::jsonb)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = clock_timestamp()
RETURNING name
