-- Branch of forecast/resources: connections, transaction ids, and the ten fullest sequences. A sequence is full when the
-- column that it feeds is, where that is of a smaller type.
SELECT 'connections'::text AS resource,
       (SELECT count(*) FROM pg_stat_activity a
         WHERE a.backend_type = 'client backend' OR (a.backend_type IS NULL AND a.datname IS NOT NULL))::double precision AS value,
       (current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
         - coalesce(current_setting('reserved_connections', true), '0')::bigint)::double precision AS most
UNION ALL
-- The server stops taking writes three million before they run out.
SELECT 'transaction ids', (SELECT max(age(d.datfrozenxid)) FROM pg_database d)::double precision, 2144483647::double precision
UNION ALL
(SELECT 'sequence ' || format('%I.%I', q.schema, q.name), q.last::double precision, q.most::double precision
   FROM (SELECT n.nspname AS schema, c.relname AS name,
                CASE WHEN has_sequence_privilege(c.oid, 'SELECT') THEN pg_sequence_last_value(c.oid) END AS last,
                least(s.seqmax, (SELECT min(CASE a.atttypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647
                                            ELSE 9223372036854775807 END)
                                   FROM pg_depend d
                                   JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
                                    AND d.deptype IN ('a', 'i'))) AS most
           FROM pg_sequence s
           JOIN pg_class c ON c.oid = s.seqrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE s.seqincrement > 0 AND NOT s.seqcycle AND c.relpersistence <> 't' AND n.nspname <> 'healer') q
  WHERE q.last IS NOT NULL AND q.most > 0
  ORDER BY q.last::double precision / q.most DESC
  LIMIT 10)
