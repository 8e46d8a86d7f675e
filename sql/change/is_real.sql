-- Whether a text is a real external id, by the configured pattern.
-- Parameters: $1 text.
-- Columns: real.
SELECT $1::text ~ {real} AS real
