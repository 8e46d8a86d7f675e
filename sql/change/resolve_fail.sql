-- Gives up a post by a person's decision; journals it.
-- Parameters: $1 text[] ids, locked in the statement before; $2 text[] reasons; $3 text[] evidence as JSON;
--   $4 timestamptz[] when a person last decided (open attempts before that do not count); $5 text[] external ids;
--   $6 timestamptz[] times of posting; $7 timestamptz lower bound of the events; $8 bigint run.
-- Columns: id, of those that were changed.
WITH keys AS MATERIALIZED (
  SELECT k.* FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::timestamptz[])
      AS k (post, reason, evidence, decided_at, external_id, posted_at)
), before AS (
  SELECT p.{id} AS id, jsonb_build_object({status_name}, p.{status}::text{error_json}{touch_json}) AS before
    FROM {posts} p
    JOIN keys k ON p.{id} = k.post::{id_type}
   WHERE p.{status} IS NOT DISTINCT FROM {posting}
), changed AS (
  UPDATE {posts} AS p
     SET {status} = {failed}{set_error}{touch}
    FROM before b
    JOIN keys k ON b.id = k.post::{id_type}
   WHERE p.{id} = b.id AND p.{status} IS NOT DISTINCT FROM {posting}
  RETURNING p.{id} AS id, jsonb_build_object({status_name}, p.{status}::text{error_json}{touch_json}) AS after
)
INSERT INTO healer.action (run_id, check_name, type, action, relation, target, before, after, reason, evidence)
SELECT $8::bigint, 'stuck-posts', 'stuck_post_exhausted', 'mark_failed', {relation}, c.id::text, b.before, c.after, k.reason,
       k.evidence::jsonb
  FROM changed c
  JOIN before b ON b.id = c.id
  JOIN keys k ON k.post = c.id::text
RETURNING target AS id
