-- All indexes of the tables that are looked at, at most 5,000.
-- {index_seen}: what healer noted of an index, or nothing.
-- Parameters: $1 text[] schemas that are left out.
-- Columns: oid, name, relation, method, unique, constraint (it is one, or a foreign key points to it), identity (replica
--   identity or cluster order), valid, building (somebody works on the table's indexes), keys (JSON: column, operator class,
--   collation and order of each), includes (JSON), predicate, expressions, for_key (it serves a foreign key), definition,
--   bytes, scans, rows, unused_s (for how long healer has known it unused), stats_s (age of the statistics; NULL: never reset).
SELECT i.indexrelid::bigint AS oid, format('%I.%I', ni.nspname, ci.relname) AS name, format('%I.%I', nt.nspname, ct.relname) AS relation,
       am.amname::text AS method, i.indisunique AS "unique",
       i.indisprimary OR i.indisexclusion
         OR EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid) AS "constraint",
       i.indisreplident OR i.indisclustered AS identity, i.indisvalid AND i.indisready AS valid,
       EXISTS (SELECT 1 FROM pg_locks l WHERE l.relation = i.indrelid AND l.pid <> pg_backend_pid() AND l.granted
                  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                  AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'AccessExclusiveLock')) AS building,
       (SELECT jsonb_agg(concat_ws(':', i.indkey[n], i.indclass[n], i.indcollation[n], i.indoption[n]) ORDER BY n)
          FROM generate_series(0, i.indnkeyatts - 1) n) AS keys,
       (SELECT coalesce(jsonb_agg(i.indkey[n] ORDER BY i.indkey[n]), '[]')
          FROM generate_series(i.indnkeyatts, i.indnatts - 1) n) AS includes,
       pg_get_expr(i.indpred, i.indrelid) AS predicate, pg_get_expr(i.indexprs, i.indrelid) AS expressions,
       EXISTS (SELECT 1 FROM pg_constraint k
                WHERE k.contype = 'f' AND k.conrelid = i.indrelid
                  AND (SELECT array_agg(i.indkey[n] ORDER BY i.indkey[n]) FROM generate_series(0, cardinality(k.conkey) - 1) n)
                    = (SELECT array_agg(c ORDER BY c) FROM unnest(k.conkey) c)) AS for_key,
       pg_get_indexdef(i.indexrelid) AS definition, pg_relation_size(i.indexrelid) AS bytes, coalesce(s.idx_scan, 0) AS scans,
       ct.reltuples::bigint AS rows, q.unused_s,
       (SELECT extract(epoch FROM now() - greatest(d.stats_reset, b.stats_reset))::bigint
          FROM pg_stat_database d CROSS JOIN pg_stat_bgwriter b WHERE d.datname = current_database()) AS stats_s
  FROM pg_index i
  JOIN pg_class ci ON ci.oid = i.indexrelid
  JOIN pg_class ct ON ct.oid = i.indrelid
  JOIN pg_namespace ni ON ni.oid = ci.relnamespace
  JOIN pg_namespace nt ON nt.oid = ct.relnamespace
  JOIN pg_am am ON am.oid = ci.relam
  LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = i.indexrelid
  LEFT JOIN LATERAL (
{index_seen}
  ) q ON true
 WHERE ct.relkind IN ('r', 'm') AND ct.relpersistence <> 't' AND ci.relkind = 'i' AND i.indislive
   AND nt.nspname <> ALL ($1::text[]) AND nt.nspname !~ '^pg_'
   -- What belongs to a partitioned index or to an extension is not dropped alone.
   AND NOT (ci.relispartition AND i.indisvalid)
   AND NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = ct.oid AND x.deptype = 'e')
 ORDER BY ct.relpages DESC, i.indexrelid
 LIMIT 5000
