-- Takes back the weights of a run and of the runs that built on it, where they all still are what healer wrote last.
-- Parameters: $1 bigint[] ids of journal rows, of one group; $2 bigint run of the undo.
-- Columns: id, of the generators that were restored; the caller commits only if it is all of them.
WITH actions AS MATERIALIZED (
  SELECT a.* FROM healer.action a WHERE a.id = ANY ($1::bigint[]) AND a.undone_at IS NULL ORDER BY a.id FOR UPDATE
), old AS MATERIALIZED (
  SELECT a.target, (array_agg(a.before ORDER BY a.id))[1] AS before, (array_agg(a.after ORDER BY a.id DESC))[1] AS after,
         (array_agg(a.action ORDER BY a.id))[1] AS action
    FROM actions a GROUP BY a.target
), restored AS (
  UPDATE {weights} AS g
     SET {weights_weight} = (o.before ->> 'weight')::{weights_type}{weights_restore}
    FROM old o
   WHERE g.{weights_name}::text = o.target
     AND g.{weights_weight} IS NOT DISTINCT FROM (o.after ->> 'weight')::{weights_type}{weights_holds}
  RETURNING g.{weights_name}::text AS name, jsonb_build_object('weight', g.{weights_weight}{weights_json}) AS now_holds
), marked AS (
  UPDATE healer.action x SET undone_at = clock_timestamp(), undone_by = $2::bigint
    FROM actions a JOIN restored r ON r.name = a.target
   WHERE x.id = a.id
)
INSERT INTO healer.action (run_id, check_name, type, action, relation, target, before, after, reason)
SELECT $2::bigint, 'generators', 'undo', 'undo_' || o.action, {weights_relation}, r.name, o.after, r.now_holds,
       'undone by a person'
  FROM restored r JOIN old o ON o.target = r.name
RETURNING target AS id
