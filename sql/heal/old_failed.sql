-- Posts whose status became failed long ago.
-- Read through a cursor, ordered by id where {order} says so (it is left out when sorting runs into a time-out).
-- Columns: id, changed_at, age_s, first_time, type, external_id, real, orphan, thread_ids, parts, flag (a mark that
--   something was not saved), error, marks (all of these as one number).
SELECT p.{id}::text AS id,
       {changed_at} AS changed_at,
       CASE WHEN isfinite({changed_at}) THEN extract(epoch FROM now() - {changed_at})::bigint END AS age_s,
       least(coalesce({created_at}, {changed_at}), {changed_at}) AS first_time,
       {type} AS type,
       p.{external_id}::text AS external_id,
       coalesce(p.{external_id}::text ~ {real}, false) AS real,
       {orphan} AS orphan,
       {thread_ids} AS thread_ids,
       {parts} AS parts,
       {flag} AS flag,
       left({last_error}, 500) AS error,
       {marks} AS marks
  FROM {posts} p
 WHERE p.{status} = {failed} AND p.{id} IS NOT NULL
   AND {changed_at} < now() - {after}
   AND ({scheduled_at} IS NULL OR {scheduled_at} <= now())
   AND ({posted_at} IS NULL OR {posted_at} < now() - {after})
 {order}
