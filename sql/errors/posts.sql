-- What posts say of why they failed: in their column and in their features. When: the time of the last attempt where it is
-- a time, else that of the last change. Archived posts failed long ago, their last change was the archiving.
-- {errors_text}, {errors_feature}, {errors_attempt}: the column, the last error and the last attempt of the features, as far
--   as they exist; {errors_below}: the table below a view, where the column is hidden by it.
-- Parameters: none (it stands behind a cursor).
-- Columns: as in errors/events.
SELECT e.at, w.kind, NULL::text AS severity, 'posting'::text AS component, 'post_failed'::text AS class,
       left(w.message, 16384) AS message, e.post, NULL::text AS job, NULL::text AS sqlstate, NULL::text AS http,
       NULL::text AS recovered, NULL::text AS recovery_ms, true AS post_found, e.posted, e.posted_at
  FROM (SELECT left(p.{id}::text, 200) AS post, coalesce({errors_posted}, false) AS posted, {posted_at} AS posted_at,
               {errors_text} AS text, {errors_feature} AS feature,
               coalesce(
                 -- Only what is a time in every calendar is cast: one odd text must not fail the statement.
                 CASE WHEN {errors_attempt} ~ '^[12]\d{3}-((0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)[T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?\d{0,3}(Z|[+-](0\d|1[0-4]):?[0-5]\d)?$'
                      THEN least({errors_attempt}::timestamptz, {changed_at}) END,
                 {changed_at}, {posted_at}, {created_at}) AS at
          FROM {posts} p{errors_below}
         WHERE coalesce({changed_at}, {created_at}) > {errors_since}
           AND p.{status}::text IS DISTINCT FROM {archived}
           AND ({errors_text} <> '' OR {errors_feature} <> '')) e
 CROSS JOIN LATERAL (VALUES ('error_message', e.text), ('last_error', e.feature)) w (kind, message)
 WHERE e.at > {errors_since} AND e.at <= {errors_until} AND isfinite(e.at) AND w.message <> ''
 ORDER BY e.at, e.post, w.kind
