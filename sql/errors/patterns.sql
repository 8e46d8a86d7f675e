-- The patterns that earlier runs stored, those seen last first.
-- Parameters: $1 timestamptz the beginning of the window.
-- Columns: id, first_key (the key under which it was first known), version, severity, component, class, sqlstate, http, example, fingerprints, first_seen, last_seen,
--   last_before (the last hour before the window in which it was counted), errors (in all that was counted).
SELECT p.id, coalesce(nullif(p.view ->> 'firstKey', ''), p.key) AS first_key, p.version::bigint AS version, p.severity, p.component, p.class, p.sqlstate, p.http_status::bigint AS http,
       p.example, p.fingerprints, p.first_seen, p.last_seen,
       (SELECT max(c.hour) FROM healer.error_count c
         WHERE c.pattern = p.id AND c.hour <= $1::timestamptz - interval '1 hour') AS last_before,
       (SELECT coalesce(sum(c.errors), 0)::bigint FROM healer.error_count c WHERE c.pattern = p.id) AS errors
  FROM healer.error_pattern p
 ORDER BY p.last_seen DESC, p.id
 LIMIT 5000
