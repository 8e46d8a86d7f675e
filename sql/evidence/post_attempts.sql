-- Ledger post_attempts: an attempt with an id or a success proves, one without an outcome leaves it open.
SELECT k.post, 'post_attempts'::text AS ledger,
       CASE WHEN l.external_id ~ {real} THEN 'sent'
            WHEN l.external_id LIKE 'dry\_run%' OR l.external_id LIKE 'pending\_%' THEN 'open'
            WHEN l.external_id ~ '^(posted|reply|recovered)_' OR l.success THEN 'sent_without_id'
            WHEN NOT l.success OR l.status = 'FAILED' THEN 'failed'
            WHEN l.status IN ('REJECTED', 'DENIED', 'CANCELLED', 'CANCELED', 'EXPIRED') AND l.used_at IS NULL
              THEN 'not_begun'
            WHEN l.status = 'PENDING' AND l.approved_at IS NULL AND l.used_at IS NULL AND l.expires_at < now()
              THEN 'not_begun'
            ELSE 'open' END AS kind,
       CASE WHEN l.external_id ~ {real} THEN l.external_id END AS external_id,
       l.at, NULL::bigint AS parts, l.note
  FROM keys k
 CROSS JOIN LATERAL (
   SELECT {post_attempts_external_id} AS external_id, {post_attempts_success} AS success,
          upper({post_attempts_status}) AS status, {post_attempts_approved_at} AS approved_at,
          {post_attempts_used_at} AS used_at, {post_attempts_expires_at} AS expires_at,
          greatest({post_attempts_used_at}, {post_attempts_approved_at}, {post_attempts_at}) AS at,
          left({post_attempts_error}, 300) AS note
     FROM {post_attempts} r
    WHERE r.{post_attempts_key} = {post_attempts_match}{post_attempts_each}
 ) l
