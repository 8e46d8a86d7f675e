-- What a job's own failures of the last 7 days said, the most frequent first.
-- Parameters: $1 text job.
-- Columns: message (cut), number, last_s.
SELECT left(j.error, 200) AS message, count(*) AS number, min(extract(epoch FROM now() - j.at))::bigint AS last_s
  FROM healer.job_run j
 WHERE j.job = $1::text AND j.error IS NOT NULL AND j.at > now() - interval '7 days' AND j.at <= now()
 GROUP BY left(j.error, 200)
 ORDER BY count(*) DESC
 LIMIT 10
