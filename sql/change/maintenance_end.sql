-- Journals how an action ended.
-- Parameters: $1 bigint journal row; $2 text outcome and figures after, as JSON.
-- Columns: id.
UPDATE healer.action SET after = $2::text::jsonb WHERE id = $1::bigint AND after ->> 'outcome' = 'started' RETURNING id
