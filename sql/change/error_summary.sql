-- Keeps what the last analysis of errors found as a whole, for the report.
-- Parameters: $1 text JSON.
-- Columns: kept.
INSERT INTO healer.setting AS s (name, value) VALUES ('error_analysis', $1::text::jsonb)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = clock_timestamp()
RETURNING true AS kept
