-- The tables of a name, with their rows and columns.
-- Parameters: $1 text name; $2 text[] schemas that are left out.
-- Columns: relation, rows, columns (JSON).
SELECT format('%I.%I', n.nspname, c.relname) AS relation, greatest(c.reltuples, 0)::bigint AS rows,
       (SELECT jsonb_agg(a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relname = $1::text AND c.relkind IN ('r', 'm') AND n.nspname <> ALL ($2::text[]) AND n.nspname !~ '^pg_'
 LIMIT 2
