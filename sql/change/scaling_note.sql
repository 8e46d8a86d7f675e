-- Notes a look at the load and what is wished for, and removes looks beyond 30 days.
-- {look}: the values, numbers or NULL, and healer's own words for the reason.
-- Parameters: none.
-- Columns: none.
WITH removed AS (
  DELETE FROM healer.scaling_sample WHERE id IN (
    SELECT id FROM healer.scaling_sample WHERE at < now() - interval '30 days' ORDER BY at LIMIT 1000)
)
INSERT INTO healer.scaling_sample (waiting, arrivals_per_hour, service_s, browser_waiting, browser_ops_per_hour, browser_held_s,
       workers_needed, slots_needed, workers, slots, reason, at)
VALUES ({look}, now())
