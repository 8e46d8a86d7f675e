-- How many rows the planner expects of a part of a table, and how wide a column is in them: nothing is read.
-- Parameters: none; {estimated_column}, {estimated_table}, {estimated_rows}: the column, the table and the condition.
-- Columns: QUERY PLAN (JSON).
EXPLAIN (FORMAT JSON) SELECT p.{estimated_column} FROM {estimated_table} p WHERE {estimated_rows}
