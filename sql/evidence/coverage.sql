-- Which share of the posts of the last 7 days each ledger knows: measured on the newest 2,000 of them: a
-- share of 95 % is then known to within one percent, at a fifth of what 10,000 cost.
-- Parameters: $1 text[] unused; $2 timestamptz lower bound of the events.
-- {coverage_branches}: one SELECT for each readable ledger.
-- Columns: ledger ('' for the sample itself), known.
WITH keys (post) AS MATERIALIZED (
  SELECT p.{id}::text
    FROM {posts} p
   WHERE {is_posted} AND p.{posted_at_column} > {posted_at_now} - interval '7 days'
     AND p.{posted_at_column} <= {posted_at_now}
   ORDER BY p.{posted_at_column} DESC
   LIMIT 2000
)
SELECT ''::text AS ledger, count(*) AS known FROM keys
UNION ALL
SELECT e.ledger, count(DISTINCT e.post)
  FROM (
{coverage_branches}
  ) e
 GROUP BY e.ledger
