-- How the server is, as far as this role may see it.
-- {database_before}: the counters as the last run noted them.
-- Parameters: $1 text the posts table, quoted.
-- Columns: one row; sessions as JSON lists, the worst first.
WITH activity AS MATERIALIZED (
  SELECT a.pid, a.datname, a.usename::text AS usename, a.application_name, a.state, a.xact_start, a.state_change, a.query_start,
         a.backend_type, a.query IS NOT DISTINCT FROM '<insufficient privilege>' OR a.state = 'disabled' AS hidden
    FROM pg_stat_activity a
), here AS MATERIALIZED (
  SELECT * FROM activity a
   WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
     AND (a.hidden OR a.backend_type = 'client backend')
), transactions AS (
  SELECT h.pid::bigint AS pid, h.usename, h.application_name, extract(epoch FROM clock_timestamp() - h.xact_start)::bigint AS age_s
    FROM here h WHERE NOT h.hidden AND h.xact_start IS NOT NULL
  UNION ALL
  SELECT NULL, x.owner::text, 'prepared transaction ' || x.gid, extract(epoch FROM clock_timestamp() - x.prepared)::bigint
    FROM pg_prepared_xacts x WHERE x.database = current_database()
), waiting AS MATERIALIZED (
  SELECT h.pid, h.usename, h.application_name, w.since
    FROM here h
    JOIN (SELECT l.pid, min((to_jsonb(l) ->> 'waitstart')::timestamptz) AS since
            FROM pg_locks l WHERE NOT l.granted GROUP BY l.pid) w ON w.pid = h.pid
), blocked AS (
  SELECT w.pid::bigint AS pid, w.usename, w.application_name,
         extract(epoch FROM clock_timestamp() - coalesce(w.since, (SELECT h.query_start FROM here h WHERE h.pid = w.pid)))::bigint AS age_s
    FROM waiting w
), posts AS (
  -- Asked of the functions below pg_stat_all_tables: the view would be reckoned for every table first.
  SELECT sum(pg_stat_get_live_tuples(t.oid))::bigint AS live, sum(pg_stat_get_dead_tuples(t.oid))::bigint AS dead,
         max(greatest(pg_stat_get_last_vacuum_time(t.oid), pg_stat_get_last_autovacuum_time(t.oid))) AS vacuumed,
         bool_or(coalesce(c.reloptions::text ILIKE '%autovacuum\_enabled=false%', false)
                 OR coalesce(c.reloptions::text ILIKE '%autovacuum\_enabled=off%', false)) AS unattended
    FROM (SELECT to_regclass($1::text)::oid AS oid
          UNION SELECT p.relid::oid FROM pg_partition_tree(to_regclass($1::text)) p) t
    JOIN pg_class c ON c.oid = t.oid AND c.relkind IN ('r', 't', 'm', 'p')
), databases AS MATERIALIZED (
  SELECT d.datname::text AS name, age(d.datfrozenxid)::bigint AS xid_age, mxid_age(d.datminmxid)::bigint AS multixact_age
    FROM pg_database d
), standbys AS MATERIALIZED (
  SELECT max(extract(epoch FROM r.replay_lag))::bigint AS lag_s, count(*) FILTER (WHERE r.state IS NULL) AS hidden
    FROM pg_stat_replication r
)
SELECT (SELECT count(*) FROM activity a
         WHERE a.backend_type = 'client backend' OR (a.hidden AND a.datname IS NOT NULL AND a.backend_type IS NULL)) AS sessions,
       current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
         - coalesce(current_setting('reserved_connections', true), '0')::bigint AS usable,
       (SELECT count(*) FROM here h WHERE h.hidden) AS hidden,
       (SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.age_s DESC), '[]')
          FROM (SELECT * FROM transactions ORDER BY age_s DESC NULLS LAST LIMIT 5) t) AS transactions,
       (SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.age_s DESC), '[]')
          FROM (SELECT h.pid::bigint AS pid, h.usename, h.application_name,
                       extract(epoch FROM clock_timestamp() - h.state_change)::bigint AS age_s
                  FROM here h WHERE NOT h.hidden AND h.state LIKE 'idle in transaction%'
                 ORDER BY h.state_change LIMIT 5) t) AS idle,
       (SELECT coalesce(jsonb_agg(to_jsonb(b) || jsonb_build_object('blockers',
                 (SELECT coalesce(jsonb_agg(jsonb_build_object('pid', k.pid, 'usename', a.usename, 'application_name', a.application_name)), '[]')
                    FROM (SELECT DISTINCT unnest(pg_blocking_pids(b.pid::int)) AS pid) k
                    LEFT JOIN activity a ON a.pid = k.pid)) ORDER BY b.age_s DESC NULLS FIRST), '[]')
          FROM (SELECT * FROM blocked ORDER BY age_s DESC NULLS FIRST LIMIT 5) b) AS blocked,
       (SELECT max(d.xid_age) FROM databases d) AS xid_age,
       (SELECT max(d.multixact_age) FROM databases d) AS multixact_age,
       (SELECT d.name FROM databases d ORDER BY greatest(d.xid_age, d.multixact_age) DESC LIMIT 1) AS oldest_database,
       CASE WHEN pg_is_in_recovery()
            THEN CASE WHEN pg_last_wal_receive_lsn() IS NOT DISTINCT FROM pg_last_wal_replay_lsn() THEN 0
                      ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::bigint END
            ELSE (SELECT s.lag_s FROM standbys s) END AS lag_s,
       (SELECT s.hidden FROM standbys s) AS hidden_standbys,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('name', s.slot_name, 'bytes', s.bytes) ORDER BY s.bytes DESC NULLS LAST), '[]')
          FROM (SELECT r.slot_name::text AS slot_name,
                       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                                       r.restart_lsn)::bigint AS bytes
                  FROM pg_replication_slots r WHERE NOT r.active AND NOT r.temporary LIMIT 20) s) AS slots,
       (SELECT to_jsonb(n) FROM (SELECT d.deadlocks, d.temp_bytes, d.stats_reset
                                   FROM pg_stat_database d WHERE d.datname = current_database()) n) AS counters,
       {database_before} AS before,
       (SELECT p.live FROM posts p) AS live,
       (SELECT p.dead FROM posts p) AS dead,
       (SELECT extract(epoch FROM clock_timestamp() - p.vacuumed)::bigint FROM posts p) AS vacuumed_s,
       (SELECT p.unattended FROM posts p) AS unattended
