-- The newest samples of each resource, of 30 days: one row a resource.
-- Parameters: $1 bigint samples of each.
-- Columns: resource, samples (JSON: [µs since 1970, value]), most (the limit at the newest).
WITH RECURSIVE named AS (
  (SELECT s.resource FROM healer.resource_sample s ORDER BY s.resource LIMIT 1)
  UNION ALL
  SELECT (SELECT s.resource FROM healer.resource_sample s WHERE s.resource > n.resource ORDER BY s.resource LIMIT 1)
    FROM named n WHERE n.resource IS NOT NULL
)
SELECT n.resource,
       (SELECT jsonb_agg(jsonb_build_array((extract(epoch FROM r.at) * 1000000)::bigint, r.value))
          FROM (SELECT s.at, s.value FROM healer.resource_sample s
                 WHERE s.resource = n.resource AND s.at > now() - interval '30 days' AND s.at <= now() + interval '1 minute'
                 ORDER BY s.at DESC LIMIT $1::bigint) r) AS samples,
       (SELECT s.most FROM healer.resource_sample s WHERE s.resource = n.resource ORDER BY s.at DESC LIMIT 1) AS most
  FROM named n
 WHERE n.resource IS NOT NULL
 LIMIT 100
