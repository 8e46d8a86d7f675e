-- Ledger posted_decisions: a row proves that the decision was posted.
SELECT k.post, 'posted_decisions'::text AS ledger,
       CASE WHEN l.external_id ~ {real} THEN 'sent' WHEN l.external_id LIKE 'dry\_run%' THEN 'open'
            ELSE 'sent_without_id' END AS kind,
       CASE WHEN l.external_id ~ {real} THEN l.external_id END AS external_id,
       l.at, NULL::bigint AS parts, NULL::text AS note
  FROM keys k
 CROSS JOIN LATERAL (
   SELECT {posted_decisions_external_id} AS external_id, {posted_decisions_at} AS at
     FROM {posted_decisions} r
    WHERE r.{posted_decisions_key} = {posted_decisions_match}{posted_decisions_each}
 ) l
