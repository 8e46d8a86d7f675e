-- The texts of a few queries.
-- {statements}: the function, qualified.
-- Parameters: $1 bigint[] query ids.
-- Columns: query_id, user_id, query (cut), length.
SELECT s.queryid AS query_id, s.userid::bigint AS user_id, left(s.query, 10000) AS query, length(s.query)::bigint AS length
  FROM {statements}(true) s
 WHERE s.queryid = ANY ($1::bigint[])
   AND s.dbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
 LIMIT 500
