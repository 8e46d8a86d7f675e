-- Notes how full each resource is now.
-- {resources}: the branches of forecast/resources that can be read.
-- Parameters: none.
-- Columns: none.
INSERT INTO healer.resource_sample (resource, at, value, most)
SELECT f.resource, now(), f.value, f.most
  FROM (
{resources}
  ) f
 WHERE f.value IS NOT NULL AND f.value <> 'NaN'::double precision
ON CONFLICT (resource, at) DO NOTHING
