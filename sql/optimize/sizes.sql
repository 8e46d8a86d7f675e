-- The 100 largest tables: how large, and how large when healer first looked within 30 days.
-- {size_before}: optimize/size_before, or nothing where the schema cannot be read.
-- Parameters: $1 text[] schemas that are left out.
-- Columns: relation, table_bytes, index_bytes, row_estimate, before_s (age of the older sample), before_table, before_index.
SELECT t.relation, pg_table_size(t.oid) AS table_bytes, pg_indexes_size(t.oid) AS index_bytes, t.row_estimate,
       b.before_s, b.before_table, b.before_index
  FROM (SELECT c.oid::regclass AS oid, format('%I.%I', n.nspname, c.relname) AS relation, c.reltuples::bigint AS row_estimate
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname <> ALL ($1::text[]) AND n.nspname !~ '^pg_'
         ORDER BY c.relpages DESC, c.oid
         LIMIT 100) t
  LEFT JOIN LATERAL (
{size_before}
  ) b ON true
