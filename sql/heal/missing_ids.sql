-- Posts that were posted lately and have no id, or a placeholder for one.
-- Read through a cursor, ordered by id.
-- Columns: id, posted_at, age_s, first_time, type, orphan, thread_ids, parts, marks
--   (what the row says of having been sent, as one number).
SELECT p.{id}::text AS id,
       {posted_at} AS posted_at,
       CASE WHEN isfinite({posted_at}) THEN extract(epoch FROM now() - {posted_at})::bigint END AS age_s,
       least(coalesce({created_at}, {posted_at}), {posted_at}) AS first_time,
       {type} AS type,
       {orphan} AS orphan,
       {thread_ids} AS thread_ids,
       {parts} AS parts,
       {marks} AS marks
  FROM {posts} p
 WHERE {is_posted} AND p.{id} IS NOT NULL
   AND p.{posted_at_column} > {posted_at_now} - {window}
   AND (p.{external_id} IS NULL OR p.{external_id}::text !~ {real})
 ORDER BY p.{id}
