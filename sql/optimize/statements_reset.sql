-- When pg_stat_statements was last reset, and how often it had to forget queries.
-- {info}: the view pg_stat_statements_info, qualified.
-- Parameters: none.
-- Columns: stats_reset, dealloc.
SELECT i.stats_reset, i.dealloc FROM {info} i
