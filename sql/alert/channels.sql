-- How each channel did when it was last used.
-- Parameters: none.
-- Columns: name, last_success, failing_since, failures, last_error, not_before.
SELECT c.name, c.last_success, c.failing_since, c.failures, c.last_error, c.not_before
  FROM healer.alert_channel c
 ORDER BY c.name
 LIMIT 1000
