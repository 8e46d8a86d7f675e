-- The counters of pg_stat_statements for this database, without the texts, those with most time.
-- {statements}: the function, qualified; {total}, {toplevel}, {since}: what its columns are called in this version.
-- Parameters: $1 bigint how many.
-- Columns: user_id, query_id (NULL: hidden from this role), toplevel, calls, total_ms, rows, since (when it was entered).
SELECT s.userid::bigint AS user_id, s.queryid AS query_id, {toplevel} AS toplevel, s.calls, s.{total}::double precision AS total_ms,
       s.rows, {since} AS since
  FROM {statements}(false) s
 WHERE s.dbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
 ORDER BY s.{total} DESC NULLS LAST
 LIMIT $1::bigint
