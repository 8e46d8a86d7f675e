-- Attempts to post that failed, of one ledger of attempts.
-- {attempts}, {attempts_post}, {attempts_at}, {attempts_failed}, {attempts_text}: the ledger and its columns, as they exist.
-- Parameters: none (it stands behind a cursor).
-- Columns: as in errors/events.
SELECT e.at, 'attempt'::text AS kind, NULL::text AS severity, 'posting'::text AS component, 'post_failed'::text AS class,
       left(e.message, 16384) AS message, e.post, NULL::text AS job, NULL::text AS sqlstate, NULL::text AS http,
       NULL::text AS recovered, NULL::text AS recovery_ms, p.posted IS NOT NULL AS post_found, p.posted, p.posted_at
  FROM (SELECT {attempts_at} AS at, left({attempts_post}, 200) AS post, coalesce({attempts_text}, '') AS message
          FROM {attempts} r
         WHERE {attempts_at} > {errors_since} AND {attempts_at} <= {errors_until} AND isfinite({attempts_at})
           AND {attempts_failed}
         ORDER BY 1 OFFSET 0) e
  LEFT JOIN LATERAL (
   SELECT coalesce({errors_posted}, false) AS posted, {posted_at} AS posted_at
     FROM {posts} p WHERE p.{id} = {errors_post_match} LIMIT 1) p ON true
 ORDER BY e.at
