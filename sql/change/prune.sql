-- Removes what healer itself has kept long enough, a bounded number of rows at a time.
-- Parameters: none.
-- Columns: removed.
WITH actions AS (
  DELETE FROM healer.action WHERE id IN (
    SELECT id FROM healer.action WHERE applied_at < now() - interval '90 days' ORDER BY applied_at LIMIT 5000)
  RETURNING 1
), runs AS (
  DELETE FROM healer.run WHERE id IN (
    SELECT r.id FROM healer.run r WHERE r.started_at < now() - interval '90 days'
       AND NOT EXISTS (SELECT 1 FROM healer.action a WHERE a.run_id = r.id) ORDER BY r.id LIMIT 5000)
  RETURNING 1
), signals AS (
  DELETE FROM healer.signal WHERE id IN (
    -- More than come in a day: the application reports every operation of its browser.
    SELECT id FROM healer.signal WHERE reported_at < now() - interval '30 days' LIMIT 50000)
  RETURNING 1
), jobs AS (
  DELETE FROM healer.job_run WHERE id IN (
    SELECT id FROM healer.job_run WHERE at < now() - interval '30 days' ORDER BY at LIMIT 50000)
  RETURNING 1
), requests AS (
  DELETE FROM healer.request WHERE id IN (
    SELECT id FROM healer.request WHERE requested_at < now() - interval '30 days' ORDER BY id LIMIT 5000)
  RETURNING 1
), holds AS (
  DELETE FROM healer.held_post WHERE id IN (
    SELECT id FROM healer.held_post WHERE resolved_at < now() - interval '90 days' ORDER BY id LIMIT 5000)
  RETURNING 1
), recovered AS (
  DELETE FROM healer.id_recovery WHERE id IN (
    SELECT id FROM healer.id_recovery WHERE resolved_at < now() - interval '90 days' ORDER BY id LIMIT 5000)
  RETURNING 1
), weights AS (
  DELETE FROM healer.content_weights WHERE id IN (
    -- The last one before the window of posts is in force when that begins: it stays.
    SELECT w.id FROM healer.content_weights w
     WHERE w.at < now() - interval '760 days' AND w.id < (SELECT max(x.id) FROM healer.content_weights x) ORDER BY w.id LIMIT 5000)
  RETURNING 1
), alerts AS (
  DELETE FROM healer.alert WHERE id IN (
    SELECT id FROM healer.alert WHERE resolved_at < now() - interval '90 days' ORDER BY resolved_at LIMIT 5000)
  RETURNING 1
), noted AS (
  INSERT INTO healer.setting AS s (name, value) VALUES ('pruned', 'true')
  ON CONFLICT (name) DO UPDATE SET updated_at = clock_timestamp()
  RETURNING 1
)
SELECT (SELECT count(*) FROM actions) + (SELECT count(*) FROM runs) + (SELECT count(*) FROM signals)
     + (SELECT count(*) FROM jobs) + (SELECT count(*) FROM requests) + (SELECT count(*) FROM holds) + (SELECT count(*) FROM recovered)
     + (SELECT count(*) FROM weights) + (SELECT count(*) FROM alerts) AS removed
