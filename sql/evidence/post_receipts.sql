-- Ledger post_receipts: a row proves that the post was sent.
SELECT k.post, 'post_receipts'::text AS ledger,
       CASE WHEN l.root_id ~ {real} THEN 'sent' WHEN l.root_id LIKE 'dry\_run%' THEN 'open'
            ELSE 'sent_without_id' END AS kind,
       CASE WHEN l.root_id ~ {real} THEN l.root_id END AS external_id,
       l.at, l.parts, NULL::text AS note
  FROM keys k
 CROSS JOIN LATERAL (
   SELECT coalesce(nullif({post_receipts_root}, ''), ({post_receipts_ids})[1]) AS root_id, {post_receipts_at} AS at,
          (SELECT count(DISTINCT i.id) FROM unnest({post_receipts_ids}) AS i (id) WHERE i.id ~ {real}) AS parts
     FROM {post_receipts} r
    WHERE r.{post_receipts_key} = {post_receipts_match}{post_receipts_each}
 ) l
