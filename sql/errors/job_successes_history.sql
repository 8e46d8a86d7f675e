-- Branch of errors/job_successes: every successful run, and every job that ran at all.
SELECT left(r.job_name::text, 200) AS job, CASE WHEN lower(r.status::text) IN ({success_words}) THEN r.created_at END AS at, true AS each
  FROM {heartbeats} r
 WHERE r.created_at > {errors_since} AND isfinite(r.created_at) AND r.job_name NOT IN ({own_jobs})
   AND (lower(r.status::text) IN ({success_words}) OR lower(r.status::text) IN ({failure_words}))
