-- Notes the server's counters, so that the next run can tell what has happened since.
-- Parameters: none.
-- Columns: none.
INSERT INTO healer.setting AS s (name, value, updated_at)
SELECT 'database_counters',
       jsonb_build_object('deadlocks', d.deadlocks, 'temp_bytes', d.temp_bytes, 'stats_reset', d.stats_reset), clock_timestamp()
  FROM pg_stat_database d
 WHERE d.datname = current_database()
ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at
