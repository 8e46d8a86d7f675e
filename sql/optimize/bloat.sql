-- How large tables and B-tree indexes of more than 1,000 pages are, and how large their rows would make them packed, by the
-- planner's statistics. Deduplicated indexes are smaller than that: then nothing is told of them.
-- Parameters: $1 text[] schemas that are left out.
-- Columns: kind (table or index), name, bytes, packed_bytes.
WITH widths AS (
  SELECT s.schemaname, s.tablename, s.attname, (1 - s.null_frac) * s.avg_width AS width
    FROM pg_stats s WHERE NOT s.inherited AND s.schemaname <> ALL ($1::text[])
)
SELECT 'table'::text AS kind, format('%I.%I', n.nspname, c.relname) AS name,
       c.relpages::bigint * current_setting('block_size')::bigint AS bytes,
       (c.reltuples * (28 + ceil(sum(w.width) / 8) * 8) * 1.03 / (coalesce(max(f.fill), 100) / 100.0))::bigint AS packed_bytes
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN widths w ON w.schemaname = n.nspname AND w.tablename = c.relname
  LEFT JOIN LATERAL (SELECT o.option_value::float8 AS fill FROM pg_options_to_table(c.reloptions) o WHERE o.option_name = 'fillfactor') f ON true
 WHERE c.relkind = 'r' AND c.relpages > 1000 AND c.reltuples > 0 AND n.nspname !~ '^pg_'
 GROUP BY c.oid, n.nspname, c.relname, c.relpages, c.reltuples
HAVING count(*) = (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
UNION ALL
SELECT 'index', format('%I.%I', n.nspname, ci.relname), ci.relpages::bigint * current_setting('block_size')::bigint,
       (ci.reltuples * (12 + ceil(sum(w.width) / 8) * 8) / 0.88)::bigint
  FROM pg_index i
  JOIN pg_class ci ON ci.oid = i.indexrelid AND ci.relpages > 1000 AND ci.reltuples > 0
  JOIN pg_am am ON am.oid = ci.relam AND am.amname = 'btree'
  JOIN pg_class c ON c.oid = i.indrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
  JOIN widths w ON w.schemaname = n.nspname AND w.tablename = c.relname AND w.attname = a.attname
 WHERE i.indexprs IS NULL AND i.indisvalid
 GROUP BY n.nspname, ci.relname, ci.relpages, ci.reltuples, i.indnatts
HAVING count(*) = i.indnatts
 LIMIT 1000
