-- Part of optimize/sizes: the oldest sample of a relation within 30 days.
SELECT extract(epoch FROM now() - s.at)::bigint AS before_s, s.table_bytes AS before_table, s.index_bytes AS before_index
  FROM healer.size_sample s
 WHERE s.relation = t.relation AND s.at > now() - interval '30 days'
 ORDER BY s.at
 LIMIT 1
