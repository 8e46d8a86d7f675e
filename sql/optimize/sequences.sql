-- Sequences, and whole-number keys without one, with how much of their range is used.
-- Everything goes by oid: a look-up by name fails as a whole for one schema that this role may not use.
-- Parameters: $1 text[] schemas that are left out.
-- Columns: kind (sequence or key), name (of the sequence or column), type, used (last value; NULL: not told, or never
--   used), most, column_name, readable (whether this role may see the value).
SELECT 'sequence'::text AS kind, format('%I.%I', q.schema, q.name) AS name, coalesce(o.column_type, q.type) AS type,
       CASE WHEN q.readable THEN pg_sequence_last_value(q.oid) END AS used,
       least(q.most, CASE o.column_type WHEN 'smallint' THEN 32767 WHEN 'integer' THEN 2147483647 ELSE q.most END) AS most,
       o.column_name, q.readable
  FROM (SELECT c.oid, n.nspname AS schema, c.relname AS name, format_type(s.seqtypid, NULL) AS type, s.seqmax AS most,
               has_sequence_privilege(c.oid, 'SELECT, USAGE') AS readable
          FROM pg_sequence s
          JOIN pg_class c ON c.oid = s.seqrelid
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE NOT s.seqcycle AND s.seqincrement > 0 AND n.nspname <> ALL ($1::text[]) AND n.nspname !~ '^pg_') q
  LEFT JOIN LATERAL (
    SELECT format_type(a.atttypid, NULL) AS column_type, format('%I.%I', t.relname, a.attname) AS column_name
      FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid
      JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
     WHERE d.classid = 'pg_class'::regclass AND d.objid = q.oid AND d.refclassid = 'pg_class'::regclass
       AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
     LIMIT 1) o ON true
UNION ALL
SELECT 'key', format('%I.%I.%I', t.schemaname, t.tablename, t.attname), format_type(a.atttypid, NULL),
       (t.histogram_bounds::text::text[])[cardinality(t.histogram_bounds::text::text[])]::bigint,
       CASE a.atttypid WHEN 'int2'::regtype THEN 32767 ELSE 2147483647 END, NULL, true
  FROM pg_stats t
  JOIN pg_class c ON c.relname = t.tablename AND c.relnamespace = to_regnamespace(quote_ident(t.schemaname))::oid
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = t.attname AND a.atttypid IN ('int2'::regtype, 'int4'::regtype)
 WHERE t.histogram_bounds IS NOT NULL AND NOT t.inherited AND t.schemaname <> ALL ($1::text[]) AND t.schemaname !~ '^pg_'
   AND EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'f') AND a.attnum = ANY (k.conkey))
   AND NOT EXISTS (SELECT 1 FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
                    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
                      AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i'))
 LIMIT 2000
