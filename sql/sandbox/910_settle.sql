-- Purpose: the server's counters catch up with what was filled in, so that the statistics gathered next count as fresh.
-- Parameters: none. Columns: none.

DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 150000 THEN
        PERFORM pg_catalog.pg_stat_force_next_flush();
    END IF;
END $$;
