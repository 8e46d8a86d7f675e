-- Branch of optimize/memory_told: what stands in the heartbeats.
SELECT h.job_name::text AS job, left(h.last_error::text, 200) AS said, h.updated_at::timestamptz AS at
  FROM {heartbeats} h
 WHERE lower(h.last_run_status::text) = 'skipped'
