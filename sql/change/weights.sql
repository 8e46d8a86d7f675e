-- Changes generator weights that still are what was seen, and journals them.
-- Parameters: $1 text[] names, locked in the statement before; $2 text[] new weights; $3 text[] old weights;
--   $4 text[] new statuses, '' for unchanged; $5 text[] reasons; $6 text[] evidence as JSON; $7 bigint run.
-- Columns: id, of those that were changed.
WITH keys AS MATERIALIZED (
  SELECT k.* FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
      AS k (name, weight, old_weight, status, reason, evidence)
), before AS (
  SELECT g.{weights_name} AS name, jsonb_build_object('weight', g.{weights_weight}{weights_json}) AS before
    FROM {weights} g JOIN keys k ON g.{weights_name}::text = k.name
   WHERE g.{weights_weight}::text IS NOT DISTINCT FROM k.old_weight
), changed AS (
  UPDATE {weights} AS g
     SET {weights_weight} = k.weight::{weights_type}{weights_set}
    FROM before b JOIN keys k ON b.name::text = k.name
   WHERE g.{weights_name} = b.name AND g.{weights_weight}::text IS NOT DISTINCT FROM k.old_weight
  RETURNING g.{weights_name} AS name, jsonb_build_object('weight', g.{weights_weight}{weights_json}) AS after
)
INSERT INTO healer.action (run_id, check_name, type, action, relation, target, before, after, reason, evidence)
SELECT $7::bigint, 'generators', 'weight_update', 'set_generator_weight', {weights_relation}, c.name::text, b.before,
       c.after, k.reason, k.evidence::jsonb
  FROM changed c JOIN before b ON b.name = c.name JOIN keys k ON k.name = c.name::text
RETURNING target AS id
