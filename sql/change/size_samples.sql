-- Notes how large the tables are.
-- Parameters: $1 text JSON list of {relation, table_bytes, index_bytes, row_estimate}.
-- Columns: none.
INSERT INTO healer.size_sample (relation, table_bytes, index_bytes, row_estimate)
SELECT s.relation, s.table_bytes, s.index_bytes, s.row_estimate
  FROM jsonb_to_recordset($1::text::jsonb) AS s (relation text, table_bytes bigint, index_bytes bigint, row_estimate bigint)
ON CONFLICT (relation, at) DO NOTHING
