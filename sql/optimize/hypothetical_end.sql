-- Lets HypoPG forget what it pretended.
-- {hypopg}: the schema of the extension.
-- Parameters: none.
-- Columns: none.
SELECT {hypopg}.hypopg_reset()
