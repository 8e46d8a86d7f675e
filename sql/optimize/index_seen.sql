-- Part of optimize/indexes: for how long an index has been known and not been used.
SELECT extract(epoch FROM now() - x.unused_since)::bigint AS unused_s
  FROM healer.index_sample x
 WHERE x.index_oid = i.indexrelid::bigint AND x.scans = coalesce(s.idx_scan, 0)
