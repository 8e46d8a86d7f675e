-- The server's counters, and what it tells of connections.
-- Parameters: none.
-- Columns: one row; counters as JSON (hit, read, temp_files, temp_bytes, stats_reset, wal_bytes, at).
SELECT (SELECT count(*) FROM pg_stat_activity a
         WHERE a.backend_type = 'client backend' OR (a.backend_type IS NULL AND a.datname IS NOT NULL)) AS sessions,
       (SELECT count(*) FROM pg_stat_activity a WHERE a.state = 'active' AND a.backend_type = 'client backend'
           AND a.pid <> pg_backend_pid()) AS working,
       current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
         - coalesce(current_setting('reserved_connections', true), '0')::bigint AS usable,
       pg_database_size(current_database()) AS database_bytes,
       jsonb_build_object('hit', d.blks_hit, 'read', d.blks_read, 'temp_files', d.temp_files, 'temp_bytes', d.temp_bytes,
         'commits', d.xact_commit, 'rollbacks', d.xact_rollback,
         'stats_reset', d.stats_reset, 'at', clock_timestamp(),
         'wal_bytes', CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') END) AS counters
  FROM pg_stat_database d
 WHERE d.datname = current_database()
