-- Ledger success_events: POST_SUCCESS and REPLY_SUCCESS in the event table, no older than the oldest post asked for.
SELECT l.post, 'success_events'::text AS ledger,
       CASE WHEN l.external_id ~ {real} THEN 'sent' WHEN l.external_id LIKE 'dry\_run%' THEN 'open'
            ELSE 'sent_without_id' END AS kind,
       CASE WHEN l.external_id ~ {real} THEN l.external_id END AS external_id,
       l.at, NULL::bigint AS parts, NULL::text AS note
  FROM (
   SELECT {events_post} AS post, r.{events_json}::jsonb ->> 'tweet_id' AS external_id,
          {events_at} AS at
     FROM {events} r
    WHERE r.event_type IN ('POST_SUCCESS', 'REPLY_SUCCESS')
      AND (r.{events_at_column} >= {events_since} OR r.{events_at_column} IS NULL)
 ) l
 WHERE l.post IN (SELECT k.post FROM keys k)
