-- Sequences, and whole-number keys without one, with how much of their range is used.
-- Parameters: $1 text[] schemas that are left out.
-- Columns: kind (sequence or key), name (of the sequence or column), type, used (last value; NULL: not told), most.
SELECT 'sequence'::text AS kind, format('%I.%I', s.schemaname, s.sequencename) AS name,
       coalesce(o.column_type, s.data_type::text) AS type, s.last_value AS used,
       least(s.max_value, CASE o.column_type WHEN 'smallint' THEN 32767 WHEN 'integer' THEN 2147483647 ELSE s.max_value END) AS most,
       o.column_name
  FROM pg_sequences s
  LEFT JOIN LATERAL (
    SELECT format_type(a.atttypid, NULL) AS column_type, format('%I.%I', t.relname, a.attname) AS column_name
      FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid
      JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
     WHERE d.classid = 'pg_class'::regclass AND d.objid = to_regclass(format('%I.%I', s.schemaname, s.sequencename))
       AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
     LIMIT 1) o ON true
 WHERE NOT s.cycle AND s.increment_by > 0 AND s.schemaname <> ALL ($1::text[]) AND s.schemaname !~ '^pg_'
UNION ALL
SELECT 'key', format('%I.%I.%I', t.schemaname, t.tablename, t.attname), format_type(a.atttypid, NULL),
       (t.histogram_bounds::text::text[])[cardinality(t.histogram_bounds::text::text[])]::bigint,
       CASE a.atttypid WHEN 'int2'::regtype THEN 32767 ELSE 2147483647 END, NULL
  FROM pg_stats t
  JOIN pg_class c ON c.relname = t.tablename AND c.relnamespace = to_regnamespace(quote_ident(t.schemaname))::oid
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = t.attname AND a.atttypid IN ('int2'::regtype, 'int4'::regtype)
 WHERE t.histogram_bounds IS NOT NULL AND NOT t.inherited AND t.schemaname <> ALL ($1::text[]) AND t.schemaname !~ '^pg_'
   AND EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'f') AND a.attnum = ANY (k.conkey))
   AND pg_get_serial_sequence(format('%I.%I', t.schemaname, t.tablename), t.attname) IS NULL
 LIMIT 2000
