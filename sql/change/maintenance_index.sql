-- Whether an index is there and valid.
-- Parameters: $1 text the index, quoted.
-- Columns: valid; no row where it is gone.
SELECT i.indisvalid AND i.indisready AS valid FROM pg_index i WHERE i.indexrelid = to_regclass($1::text)
