-- Posts that have been posting for longer than their type's limit, or of which nobody knows since when.
-- Read through a cursor, ordered by id, so that the batches of a later change lock in the order of the key.
-- {limit}: the limit as an interval, by type. {claimed_at}: since when the post has been posting.
-- Columns: id, claimed_at, age_s, planned_age_s, type, external_id, real (whether it is one), orphan, thread_ids, parts,
--   flag (a mark that something was not saved), error, marks (all of these as one number).
SELECT p.{id}::text AS id,
       {claimed_at} AS claimed_at,
       -- A time may be infinite, of which no age can be told.
       CASE WHEN isfinite({claimed_at}) THEN extract(epoch FROM now() - {claimed_at})::bigint END AS age_s,
       CASE WHEN isfinite(coalesce({scheduled_at}, {created_at}))
            THEN extract(epoch FROM now() - coalesce({scheduled_at}, {created_at}))::bigint
            WHEN coalesce({scheduled_at}, {created_at}) < now() THEN 9223372036854775807 END AS planned_age_s,
       least(coalesce({created_at}, {claimed_at}), {claimed_at}) AS first_time,
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
 WHERE p.{status} = {posting} AND p.{id} IS NOT NULL
   AND ({claimed_at} IS NULL OR {claimed_at} < now() - {limit})
 ORDER BY p.{id}
