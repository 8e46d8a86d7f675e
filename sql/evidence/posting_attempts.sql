-- Ledger posting_attempts: success proves, failed is an outcome, anything else leaves it open.
SELECT k.post, 'posting_attempts'::text AS ledger,
       CASE WHEN l.external_id ~ {real} THEN 'sent'
            WHEN l.external_id LIKE 'dry\_run%' THEN 'open'
            WHEN l.status IN ('success', 'succeeded', 'posted') THEN 'sent_without_id'
            WHEN l.status IN ('failed', 'failure', 'error') THEN 'failed'
            ELSE 'open' END AS kind,
       CASE WHEN l.external_id ~ {real} THEN l.external_id END AS external_id,
       l.at, NULL::bigint AS parts, l.note
  FROM keys k
 CROSS JOIN LATERAL (
   SELECT {posting_attempts_external_id} AS external_id, lower({posting_attempts_status}) AS status,
          {posting_attempts_at} AS at, left({posting_attempts_error}, 300) AS note
     FROM {posting_attempts} r
    WHERE r.{posting_attempts_key} = {posting_attempts_match}{posting_attempts_each}
 ) l
