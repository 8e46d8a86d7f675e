-- The extensions that help, and where they live.
-- Parameters: none.
-- Columns: name, schema (quoted), version, columns (JSON: those of the view pg_stat_statements, in no order).
SELECT e.extname::text AS name, quote_ident(n.nspname) AS schema, e.extversion AS version,
       (SELECT jsonb_agg(a.attname) FROM pg_attribute a
         WHERE a.attrelid = to_regclass(format('%I.pg_stat_statements', n.nspname)) AND a.attnum > 0 AND NOT a.attisdropped) AS columns
  FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
 WHERE e.extname IN ('pg_stat_statements', 'hypopg')
