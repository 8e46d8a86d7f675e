-- Attempts of the last 24 hours that ended with a rate limit, by their error text, and the hour with the most.
-- {attempts}, {attempts_at}, {attempts_error}: the ledger of attempts.
-- Parameters: none.
-- Columns: hits, busiest.
WITH hits AS (
  SELECT date_trunc('hour', {attempts_at}) AS hour
    FROM {attempts} r
   WHERE {attempts_at} > now() - interval '24 hours' AND {attempts_at} <= now()
     AND left({attempts_error}, 500) ~* '(^|[^0-9])429([^0-9]|$)|too many requests|rate.?limit (exceeded|hit|reached)'
)
SELECT count(*) AS hits, coalesce((SELECT max(h.n) FROM (SELECT count(*) AS n FROM hits GROUP BY hour) h), 0)::bigint AS busiest
  FROM hits
