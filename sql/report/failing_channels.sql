-- Channels that did not take the last message.
-- Parameters: none.
-- Columns: name, since_s, failures, last_error.
SELECT c.name, extract(epoch FROM now() - c.failing_since)::bigint AS since_s, c.failures, c.last_error
  FROM healer.alert_channel c
 WHERE c.failing_since IS NOT NULL
 ORDER BY c.name
 LIMIT 100
