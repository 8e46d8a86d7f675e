-- Lets HypoPG pretend that an index exists, in this session alone.
-- {hypopg}: the schema of the extension.
-- Parameters: $1 text the statement that would create it.
-- Columns: index.
SELECT h.indexname::text AS index FROM {hypopg}.hypopg_create_index($1::text) h
