-- Whether a CHECK constraint on the status column alone lets a word pass, asked of the constraint itself.
-- Parameters: none; {expression} the constraint's expression as the catalog gives it, {status} its column,
--   {word} the quoted word, {status_type} the column's type.
-- Columns: allowed.
SELECT coalesce(({expression}), true) AS allowed FROM (SELECT {word}::{status_type} AS {status}) AS post
