-- Ids that the application's recovery job found, and posts that wait for it.
SELECT k.post, 'id_recovery'::text AS ledger,
       CASE WHEN r.resolved_at IS NULL THEN 'waiting' ELSE 'sent' END AS kind,
       CASE WHEN r.external_id ~ {real} THEN r.external_id END AS external_id,
       coalesce(r.resolved_at, r.first_seen) AS at, NULL::bigint AS parts, NULL::text AS note
  FROM keys k
  JOIN healer.id_recovery r ON r.post = k.post
 WHERE r.resolved_at IS NULL OR r.external_id ~ {real}
