-- Locks posts that still are what the plan saw: their status, their time and their external id.
-- Parameters: $1 text[] ids; $2 timestamptz[] the time that was seen; $3 text[] the external id that was seen.
-- {from}: the status; {seen}: the expression of the time.
-- Columns: id, of those that were locked; the others were changed meanwhile, or somebody else holds them.
SELECT p.{id}::text AS id
  FROM {posts} p
  JOIN unnest($1::text[], $2::timestamptz[], $3::text[]) AS k (post, seen, external_id)
    ON p.{id} = k.post::{id_type}
 WHERE p.{status} = {from}
   AND {seen} IS NOT DISTINCT FROM k.seen
   AND p.{external_id}::text IS NOT DISTINCT FROM k.external_id
 ORDER BY p.{id}
   FOR UPDATE OF p SKIP LOCKED
