-- What a job said last, within 24 hours, of the memory for which it was skipped.
-- {memory_branches}: the heartbeats, and the runs that healer noted.
-- Parameters: none.
-- Columns: job, said.
SELECT m.job, m.said
  FROM (
{memory_branches}
  ) m
 WHERE m.at > now() - interval '24 hours' AND m.at <= now() AND m.said ~* 'memory' AND m.said ~ '[0-9] ?%'
 ORDER BY m.at DESC
 LIMIT 1
