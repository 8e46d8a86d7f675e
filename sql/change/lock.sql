-- Locks posts that still are what the plan saw: their status, their time, and all that they say of having been sent.
-- Parameters: $1 text[] ids; $2 timestamptz[] the time that was seen; $3 bigint[] the marks that were seen.
-- {from}: the status; {seen}: the expression of the time.
-- Here and wherever posts are changed, IS NOT DISTINCT FROM keeps the index of the status out of the plan: of many stuck
-- posts each batch would read all to find its own.
-- Columns: id, of those that were locked; the others were changed meanwhile, or somebody else holds them.
SELECT p.{id}::text AS id
  FROM {posts} p
  JOIN unnest($1::text[], $2::timestamptz[], $3::bigint[]) AS k (post, seen, marks)
    ON p.{id} = k.post::{id_type}
 WHERE p.{status} IS NOT DISTINCT FROM {from}
   AND {seen} IS NOT DISTINCT FROM k.seen
   AND {marks} = k.marks
 ORDER BY p.{id}
   FOR UPDATE OF p SKIP LOCKED
