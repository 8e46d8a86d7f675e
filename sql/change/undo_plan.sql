-- The changes of posts that a run journalled, and of each whether the post still holds what healer wrote.
-- Parameters: $1 bigint run; $2 text[] checks, empty for all; $3 bigint the last journal id that was read.
-- {still_holds}: for each column that healer writes, its value is the one in the journal.
-- {may_restore}: a post that would be queued does not say itself that it was sent.
-- Columns: action_id, check_name, action, target, before, after, undone, present, intact, queues (whether taking it back
--   queues the post); 1,000 rows at a time.
SELECT a.id AS action_id, a.check_name, a.action, a.target, a.before, a.after, a.undone_at IS NOT NULL AS undone,
       p.{id} IS NOT NULL AS present, 
       coalesce(p.{id} IS NOT NULL AND a.before IS NOT NULL AND {still_holds} AND {may_restore}, false) AS intact,
       coalesce(a.before ->> {status_name} = {queued}, false) AS queues
  FROM (SELECT * FROM healer.action x
         WHERE x.run_id = $1::bigint AND x.id > $3::bigint AND x.relation NOT IN ('healer.setting', 'database')
           AND x.check_name <> 'generators'
           AND (cardinality($2::text[]) = 0 OR x.check_name = ANY ($2::text[]))
         ORDER BY x.id LIMIT 1000) a
  LEFT JOIN {posts} p ON p.{id} = {action_match}
 ORDER BY a.id
