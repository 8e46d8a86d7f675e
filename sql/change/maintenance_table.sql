-- What tells whether a table was analysed or vacuumed.
-- Parameters: $1 text the table, quoted.
-- Columns: analyzed, vacuumed (times; NULL: never), changed, dead; no row where the table is gone.
SELECT s.last_analyze AS analyzed, s.last_vacuum AS vacuumed, s.n_mod_since_analyze AS changed, s.n_dead_tup AS dead
  FROM pg_stat_all_tables s
 WHERE s.relid = to_regclass($1::text)
