-- How full each resource is now.
-- {resources}: the branches that can be read, below.
-- Parameters: none.
-- Columns: resource, value, most (its limit; NULL where there is none).
SELECT f.resource, f.value, f.most
  FROM (
{resources}
  ) f
 WHERE f.value IS NOT NULL
