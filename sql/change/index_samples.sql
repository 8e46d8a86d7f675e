-- Notes the indexes and how often they were used: since when one has not been used is known from then on.
-- Parameters: $1 text JSON list of {oid, relation, scans}.
-- Columns: none.
INSERT INTO healer.index_sample AS x (index_oid, relation, scans, unused_since)
SELECT s.oid, s.relation, s.scans, clock_timestamp()
  FROM jsonb_to_recordset($1::text::jsonb) AS s (oid bigint, relation text, scans bigint)
ON CONFLICT (index_oid) DO UPDATE
   SET unused_since = CASE WHEN x.scans = excluded.scans AND x.relation = excluded.relation THEN x.unused_since
                           ELSE excluded.unused_since END,
       first_seen = CASE WHEN x.relation = excluded.relation THEN x.first_seen ELSE clock_timestamp() END,
       relation = excluded.relation, scans = excluded.scans, last_seen = clock_timestamp()
