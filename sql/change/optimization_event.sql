-- Notes an applied change of weights in the table that the system keeps for it.
-- Parameters: $1 bigint posts analysed; $2 bigint days; $3 bigint generators changed; $4 text best, '' for none;
--   $5 text its F/1K, '' for unknown; $6 text worst; $7 text its F/1K; $8 text changes as JSON; $9 bigint milliseconds.
-- {history_columns}, {history_values}: those that the table has.
-- Columns: written.
INSERT INTO {history} (event_type{history_columns})
SELECT 'weight_update'{history_values}
  FROM (SELECT $1::bigint AS posts, $2::bigint AS days, $3::bigint AS updated, nullif($4::text, '') AS best,
               nullif($5::text, '') AS best_rate, nullif($6::text, '') AS worst, nullif($7::text, '') AS worst_rate,
               $8::text AS changes, $9::bigint AS took) v
RETURNING true AS written
