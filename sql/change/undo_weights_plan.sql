-- The generators that a run changed, with what later runs of healer made of all of them (their sum is what counts), and
-- whether each still holds what was written last.
-- Parameters: $1 bigint run; $2 text[] checks, empty for all.
-- Columns: ids (journal rows, of later runs too), target, action, undone, intact.
WITH mine AS (
  SELECT a.* FROM healer.action a
   WHERE a.run_id = $1::bigint AND a.check_name = 'generators' AND a.relation = {weights_relation}
     AND (cardinality($2::text[]) = 0 OR a.check_name = ANY ($2::text[]))
), built_on AS (
  SELECT a.* FROM healer.action a
   WHERE a.id >= (SELECT min(m.id) FROM mine m WHERE m.undone_at IS NULL) AND a.undone_at IS NULL
     AND a.check_name = 'generators' AND a.relation = {weights_relation}
), found AS (
  SELECT b.target, false AS undone, array_agg(b.id ORDER BY b.id) AS ids, (array_agg(b.action ORDER BY b.id))[1] AS action,
         (array_agg(b.after ORDER BY b.id DESC))[1] AS after
    FROM built_on b GROUP BY b.target
  UNION ALL
  SELECT m.target, true, ARRAY[m.id], m.action, m.after FROM mine m WHERE m.undone_at IS NOT NULL
)
SELECT o.ids, o.target, o.action, o.undone,
       coalesce(g.{weights_weight} IS NOT DISTINCT FROM (o.after ->> 'weight')::{weights_type}{weights_holds}, false) AS intact
  FROM found o
  LEFT JOIN {weights} g ON g.{weights_name}::text = o.target
 ORDER BY o.undone, o.target
