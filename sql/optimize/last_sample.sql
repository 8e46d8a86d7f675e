-- The counters as the last run noted them, and the oldest of the last 7 days.
-- Parameters: none.
-- Columns: counters, week (both JSON; NULL where there is none).
SELECT (SELECT s.counters FROM healer.performance_sample s ORDER BY s.at DESC LIMIT 1) AS counters,
       (SELECT s.counters FROM healer.performance_sample s WHERE s.at > now() - interval '7 days' ORDER BY s.at LIMIT 1) AS week
