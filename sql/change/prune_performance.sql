-- Removes samples that have been kept for 30 days, a bounded number of rows at a time.
-- Parameters: none.
-- Columns: none.
WITH samples AS (
  DELETE FROM healer.performance_sample WHERE id IN (
    SELECT id FROM healer.performance_sample WHERE at < now() - interval '30 days' ORDER BY at LIMIT 5000)
), sizes AS (
  DELETE FROM healer.size_sample WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM healer.size_sample WHERE at < now() - interval '30 days' LIMIT 50000))
), indexes AS (
  DELETE FROM healer.index_sample WHERE last_seen < now() - interval '30 days'
)
DELETE FROM healer.query_sample WHERE id IN (
  -- The newest note of a query stays for as long as the query does: the next run compares with it.
  SELECT q.id FROM healer.query_sample q
   WHERE q.at < now() - interval '30 days'
     AND (q.at < now() - interval '90 days'
          OR EXISTS (SELECT 1 FROM healer.query_sample n
                      WHERE n.query_id = q.query_id AND n.user_id = q.user_id AND n.toplevel = q.toplevel AND n.at > q.at))
   ORDER BY q.at LIMIT 50000)
