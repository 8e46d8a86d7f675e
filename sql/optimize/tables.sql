-- The tables, how many rows changed since they were last analysed and vacuumed, and from when on autovacuum would do it.
-- {maintain}: whether the role may maintain the table without owning it.
-- Parameters: $1 text[] schemas that are left out.
-- Columns: oid, relation, kind (r, m, p), rows, pages, live, dead, changed (since the last ANALYZE), analyzed_s, vacuumed_s
--   (ages; NULL: never), analyze_at, vacuum_at (rows from which autovacuum acts), attended (autovacuum is on), allowed (the
--   role may maintain it), seq_scans, seq_rows, idx_scans, bytes.
SELECT c.oid::bigint AS oid, format('%I.%I', n.nspname, c.relname) AS relation, c.relkind::text AS kind,
       CASE WHEN c.relkind = 'p'
            THEN (SELECT sum(greatest(k.reltuples, 0))::bigint FROM pg_partition_tree(c.oid) t JOIN pg_class k ON k.oid = t.relid)
            ELSE greatest(c.reltuples, 0)::bigint END AS rows,
       c.relpages::bigint AS pages, coalesce(s.n_live_tup, 0) AS live, coalesce(s.n_dead_tup, 0) AS dead,
       CASE WHEN c.relkind = 'p'
            THEN (SELECT coalesce(sum(k.n_mod_since_analyze), 0)::bigint FROM pg_partition_tree(c.oid) t
                    JOIN pg_stat_all_tables k ON k.relid = t.relid)
            ELSE coalesce(s.n_mod_since_analyze, 0) END AS changed,
       extract(epoch FROM now() - greatest(s.last_analyze, s.last_autoanalyze))::bigint AS analyzed_s,
       extract(epoch FROM now() - greatest(s.last_vacuum, s.last_autovacuum))::bigint AS vacuumed_s,
       (o.analyze_threshold + o.analyze_scale * greatest(c.reltuples, 0))::bigint AS analyze_at,
       (o.vacuum_threshold + o.vacuum_scale * greatest(c.reltuples, 0))::bigint AS vacuum_at,
       o.attended AND current_setting('autovacuum') = 'on' AND c.relkind <> 'p' AS attended,
       pg_has_role(c.relowner, 'USAGE') OR {maintain}
         OR (SELECT pg_has_role(d.datdba, 'USAGE') FROM pg_database d WHERE d.datname = current_database()) AS allowed,
       coalesce(s.seq_scan, 0) AS seq_scans, coalesce(s.seq_tup_read, 0) AS seq_rows, coalesce(s.idx_scan, 0) AS idx_scans,
       c.relpages::bigint * current_setting('block_size')::bigint AS bytes
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
 CROSS JOIN LATERAL (
   SELECT coalesce(max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_enabled'), 'true') IN ('true', 'on', '1', 'yes') AS attended,
          coalesce(max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_analyze_threshold'),
                   current_setting('autovacuum_analyze_threshold'))::float8 AS analyze_threshold,
          coalesce(max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_analyze_scale_factor'),
                   current_setting('autovacuum_analyze_scale_factor'))::float8 AS analyze_scale,
          coalesce(max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_vacuum_threshold'),
                   current_setting('autovacuum_vacuum_threshold'))::float8 AS vacuum_threshold,
          coalesce(max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_vacuum_scale_factor'),
                   current_setting('autovacuum_vacuum_scale_factor'))::float8 AS vacuum_scale
     FROM pg_options_to_table(c.reloptions) o) o
 WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND n.nspname <> ALL ($1::text[]) AND n.nspname !~ '^pg_'
   AND NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')
 ORDER BY c.relpages DESC, c.oid
 LIMIT 2000
