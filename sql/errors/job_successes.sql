-- When the system's jobs succeeded: what a failed job recovered at.
-- {success_branches}: errors/job_last_success, errors/job_successes_noted, errors/job_successes_history, as they exist.
-- Parameters: none.
-- Columns: job, at (NULL: it never did), each (whether it is one of many that are told, not the last alone).
SELECT s.job, s.at, s.each FROM ({success_branches}) s ORDER BY s.at DESC NULLS FIRST LIMIT 200000
