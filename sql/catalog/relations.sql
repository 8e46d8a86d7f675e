-- The relations that the configuration names: what they are, their columns, and what this role may do with them.
-- Names and words come back quoted by the server, ready to stand in SQL. A type stands in casts, where `character` would
-- mean one character: it is called bpchar.
-- Parameters: $1 text[] configured names (table or schema.table); $2 text schema to prefer, '' for the search path.
-- Columns: one row for each configured name that was found.
WITH wanted AS (
  SELECT w.name, w.place FROM unnest($1::text[]) WITH ORDINALITY AS w (name, place)
), found AS (
  SELECT DISTINCT ON (w.place)
         w.name, c.oid, c.relkind, c.relname, n.nspname, c.relowner
    FROM wanted w
    JOIN pg_catalog.pg_class c
      ON c.relname = w.name OR c.relname = substr(w.name, strpos(w.name, '.') + 1)
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
     AND (n.nspname || '.' || c.relname = w.name
          OR (c.relname = w.name
              AND (n.nspname = $2::text OR pg_catalog.pg_table_is_visible(c.oid) OR n.nspname = 'public')))
   ORDER BY w.place, (c.relname = w.name AND n.nspname = $2::text) DESC, pg_catalog.pg_table_is_visible(c.oid) DESC
), base AS (
  -- The table below an automatically updatable view; the relation itself otherwise. Views may stand on views.
  SELECT f.oid AS relation, coalesce(b.oid, f.oid) AS oid
    FROM found f
    LEFT JOIN LATERAL (
      WITH RECURSIVE below (oid, relkind, depth) AS (
        SELECT f.oid, f.relkind, 0
        UNION ALL
        SELECT t.oid, t.relkind, below.depth + 1
          FROM below
          JOIN pg_catalog.pg_rewrite r ON r.ev_class = below.oid
          JOIN pg_catalog.pg_depend d
            ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
           AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> below.oid
          JOIN pg_catalog.pg_class t ON t.oid = d.refobjid AND t.relkind IN ('r', 'p', 'v', 'f')
         WHERE below.relkind = 'v' AND below.depth < 8
      )
      SELECT below.oid FROM below WHERE f.relkind = 'v' AND below.relkind IN ('r', 'p', 'f') ORDER BY depth LIMIT 1
    ) b ON true
)
SELECT f.name,
       format('%I.%I', f.nspname, f.relname) AS quoted,
       f.nspname::text AS schema,
       f.relname::text AS relation,
       f.relkind::text AS kind,
       (SELECT format('%I.%I', n.nspname, c.relname)
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = base.oid) AS base,
       (SELECT c.reltuples::bigint FROM pg_catalog.pg_class c WHERE c.oid = base.oid) AS estimated_rows,
       (SELECT c.relkind::text FROM pg_catalog.pg_class c WHERE c.oid = base.oid) AS base_kind,
       pg_catalog.has_table_privilege(f.oid, 'SELECT')
         OR pg_catalog.has_any_column_privilege(f.oid, 'SELECT') AS may_select,
       pg_catalog.has_table_privilege(f.oid, 'INSERT')
         OR pg_catalog.has_any_column_privilege(f.oid, 'INSERT') AS may_insert,
       pg_catalog.has_table_privilege(f.oid, 'UPDATE')
         OR pg_catalog.has_any_column_privilege(f.oid, 'UPDATE') AS may_update,
       pg_catalog.has_schema_privilege(f.nspname, 'USAGE') AS schema_usage,
       pg_catalog.row_security_active(f.oid) AS row_security,
       pg_catalog.pg_relation_is_updatable(f.oid, false) & 4 = 4 AS updatable,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                 'name', a.attname,
                 'quoted', format('%I', a.attname),
                 'type', CASE a.atttypid WHEN 'pg_catalog.bpchar'::regtype THEN 'bpchar'
                           ELSE pg_catalog.format_type(a.atttypid, NULL) END,
                 'base_type', CASE coalesce(nullif(t.typbasetype, 0), t.oid) WHEN 'pg_catalog.bpchar'::regtype THEN 'bpchar'
                                ELSE pg_catalog.format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) END,
                 'kind', t.typtype,
                 'not_null', a.attnotnull,
                 'generated', a.attgenerated <> '' OR a.attidentity = 'a',
                 'computed', a.attgenerated <> '',
                 'may_select', pg_catalog.has_column_privilege(f.oid, a.attnum, 'SELECT'),
                 'may_update', pg_catalog.has_column_privilege(f.oid, a.attnum, 'UPDATE')
                               AND pg_catalog.pg_column_is_updatable(f.oid, a.attnum, false),
                 'labels', (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder)
                              FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid)) ORDER BY a.attnum), '[]')
          FROM pg_catalog.pg_attribute a
          JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         WHERE a.attrelid = f.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                 'name', a.attname,
                 'quoted', format('%I', a.attname),
                 'type', CASE a.atttypid WHEN 'pg_catalog.bpchar'::regtype THEN 'bpchar'
                           ELSE pg_catalog.format_type(a.atttypid, NULL) END,
                 'base_type', CASE coalesce(nullif(t.typbasetype, 0), t.oid) WHEN 'pg_catalog.bpchar'::regtype THEN 'bpchar'
                                ELSE pg_catalog.format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) END,
                 'kind', t.typtype, 'not_null', a.attnotnull, 'generated', false, 'computed', false, 'may_update', false,
                 'may_select', pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')
                               AND pg_catalog.has_column_privilege(base.oid, a.attnum, 'SELECT')
                               AND NOT pg_catalog.row_security_active(base.oid),
                 'labels', NULL) ORDER BY a.attnum), '[]')
          FROM pg_catalog.pg_class c
          JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
          JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         WHERE c.oid = base.oid AND base.oid <> f.oid AND a.attnum > 0 AND NOT a.attisdropped) AS hidden_columns,
       (SELECT coalesce(jsonb_agg(a.attname), '[]')
          FROM pg_catalog.pg_index i
          JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
         WHERE i.indrelid = base.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
           AND i.indnkeyatts = 1 AND i.indpred IS NULL AND i.indexprs IS NULL) AS unique_columns,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                 'name', i.indexrelid::regclass::text,
                 'valid', i.indisvalid,
                 'definition', pg_catalog.pg_get_indexdef(i.indexrelid),
                 'first', (SELECT a.attname FROM pg_catalog.pg_attribute a
                            WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[0]),
                 'predicate', pg_catalog.pg_get_expr(i.indpred, i.indrelid))), '[]')
          FROM pg_catalog.pg_index i WHERE i.indrelid = base.oid) AS indexes,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                 'name', k.conname,
                 'quoted', format('%I', k.conname),
                 'definition', pg_catalog.pg_get_constraintdef(k.oid),
                 'expression', pg_catalog.pg_get_expr(k.conbin, k.conrelid),
                 'columns', (SELECT jsonb_agg(a.attname) FROM pg_catalog.pg_attribute a
                              WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)))), '[]')
          FROM pg_catalog.pg_constraint k WHERE k.conrelid = base.oid AND k.contype = 'c') AS checks,
       (SELECT coalesce(jsonb_agg(format('%s on %s', k.conname, k.conrelid::regclass)), '[]')
          FROM pg_catalog.pg_constraint k WHERE k.confrelid = base.oid AND k.contype = 'f'
           AND k.conparentid = 0) AS incoming_keys,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                 'name', t.tgname, 'on_delete', t.tgtype::int & 8 = 8, 'on_update', t.tgtype::int & 16 = 16)), '[]')
          FROM pg_catalog.pg_trigger t
         WHERE t.tgrelid = base.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D') AS triggers,
       (SELECT pg_catalog.pg_get_userbyid(c.relowner)::text FROM pg_catalog.pg_class c WHERE c.oid = base.oid) AS owner
  FROM found f
  JOIN base ON base.relation = f.oid
