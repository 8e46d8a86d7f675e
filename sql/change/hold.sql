-- Notes posts as held: left alone until a person decides or the reason has gone. A post is held once.
-- Parameters: $1 text[] ids; $2 text[] status each had; $3 text[] codes; $4 text[] reasons; $5 text[] evidence as JSON;
--   $6 text check; $7 bigint run.
-- Columns: id, of those that are newly held or held for another reason than before.
INSERT INTO healer.held_post AS h (post, check_name, status, code, reason, evidence, run_id)
SELECT k.post, $6::text, k.status, k.code, k.reason, k.evidence::jsonb, $7::bigint
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) AS k (post, status, code, reason, evidence)
  JOIN {posts} p ON p.{id} = k.post::{id_type} AND p.{status}::text = k.status
 ORDER BY k.post
ON CONFLICT (post) WHERE resolved_at IS NULL
DO UPDATE SET code = excluded.code, reason = excluded.reason, evidence = excluded.evidence, run_id = excluded.run_id
        WHERE h.code <> excluded.code
RETURNING h.post AS id
