-- Which database this is: the same on every connection to it, whatever stands between.
-- Parameters: none.
-- Columns: identity, pid.
SELECT concat_ws(' ', d.oid, d.datname, pg_postmaster_start_time()) AS identity, pg_backend_pid()::bigint AS pid
  FROM pg_database d WHERE d.datname = current_database()
