-- How many actions of maintenance there were in 24 hours.
-- Parameters: none.
-- Columns: actions.
SELECT count(*) AS actions FROM healer.action a WHERE a.relation = 'database' AND a.type = 'maintenance' AND a.applied_at > now() - interval '24 hours'
