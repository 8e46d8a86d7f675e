-- Keeps what was learned over all jobs: the prior and the model, with its version and how it did on runs not seen.
-- Parameters: $1 text JSON.
-- Columns: none.
INSERT INTO healer.setting AS s (name, value)
VALUES ('forecast_knowledge', $1::text::jsonb)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = clock_timestamp()
