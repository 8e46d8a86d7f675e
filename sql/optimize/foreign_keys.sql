-- Foreign keys whose own columns no index begins with: every change of the table they point to walks their table.
-- Parameters: $1 text[] schemas that are left out.
-- Columns: name, relation, referenced, columns (quoted, in order), rows.
SELECT k.conname::text AS name, format('%I.%I', n.nspname, c.relname) AS relation, k.confrelid::regclass::text AS referenced,
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY u.place)
          FROM unnest(k.conkey) WITH ORDINALITY u (attnum, place)
          JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum) AS columns,
       greatest(c.reltuples, 0)::bigint AS rows
  FROM pg_constraint k
  JOIN pg_class c ON c.oid = k.conrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'f' AND k.conparentid = 0 AND n.nspname <> ALL ($1::text[]) AND n.nspname !~ '^pg_'
   AND NOT EXISTS (
     SELECT 1 FROM pg_index i
      WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indnkeyatts >= cardinality(k.conkey)
        -- A partial index on "the key is not null" serves: the key's own lookups never ask for NULL.
        AND (i.indpred IS NULL OR (cardinality(k.conkey) = 1 AND pg_get_expr(i.indpred, i.indrelid) ~ '^\(+"?[^()]+"? IS NOT NULL\)+$'))
        AND (SELECT array_agg(i.indkey[n] ORDER BY i.indkey[n]) FROM generate_series(0, cardinality(k.conkey) - 1) n)
          = (SELECT array_agg(x ORDER BY x) FROM unnest(k.conkey) x))
 ORDER BY c.relpages DESC, k.oid
 LIMIT 500
