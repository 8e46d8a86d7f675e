-- Whether the server understands the texts of the configuration that are written in languages of its own.
-- Parameters: $1 text a regular expression; $2 text a time zone.
-- Columns: understood (what it does not understand is an error: SQLSTATE 2201B and 22023).
SELECT '' ~ $1::text IS NOT NULL AND now() AT TIME ZONE $2::text IS NOT NULL AS understood
