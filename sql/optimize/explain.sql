-- The plan of a look-up that healer or the application makes again and again.
-- {explained}: the table; {predicate}: the look-up's condition on its row r.
-- Parameters: none.
-- Columns: "QUERY PLAN" (JSON).
EXPLAIN (FORMAT JSON) SELECT 1 FROM {explained} r WHERE {predicate}
