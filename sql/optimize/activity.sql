-- What other sessions of this database run just now, the longest first.
-- Parameters: none.
-- Columns: application, role, state, query_id (NULL before Postgres 14), age_ms, query (cut; NULL: hidden).
SELECT a.application_name AS application, a.usename::text AS role, a.state,
       CASE WHEN to_jsonb(a) ->> 'query_id' ~ '^-?[0-9]{1,19}$' THEN (to_jsonb(a) ->> 'query_id')::bigint END AS query_id,
       (extract(epoch FROM clock_timestamp() - a.query_start) * 1000)::double precision AS age_ms,
       CASE WHEN a.query <> '<insufficient privilege>' THEN left(a.query, 2000) END AS query
  FROM pg_stat_activity a
 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND (a.backend_type = 'client backend' OR a.backend_type IS NULL)
 ORDER BY (a.state = 'active') DESC NULLS LAST, a.query_start
 LIMIT 100
