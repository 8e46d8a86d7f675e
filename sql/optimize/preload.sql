-- Whether pg_stat_statements could be enabled.
-- Parameters: none.
-- Columns: preloaded, available.
SELECT coalesce((SELECT s.setting ~ 'pg_stat_statements' FROM pg_settings s WHERE s.name = 'shared_preload_libraries'), NULL) AS preloaded,
       EXISTS (SELECT 1 FROM pg_available_extensions e WHERE e.name = 'pg_stat_statements') AS available
