-- Purpose: what the ledgers know of the ordinary posts: receipts for 99.2 % of the sent ones, attempts for 97 %, the
--          event POST_SUCCESS for one in a thousand.
-- Parameters: none. Columns: none.

INSERT INTO public.post_receipts (receipt_id, decision_id, tweet_ids, root_tweet_id, post_type, posted_at, created_at)
SELECT md5('receipt ' || n)::uuid, post,
       ids, ids[1], type, due, least(due + interval '1 second', now())
FROM sandbox.draft
WHERE status = 'posted' AND sandbox.chance(n, 'receipt') >= 0.008;

INSERT INTO public.post_attempts
    (id, decision_id, status, actual_tweet_id, posting_success, error_message, created_at, approved_at, used_at, expires_at)
SELECT md5('attempt ' || n)::uuid, post::text,
       CASE WHEN status = 'posted' THEN 'USED' ELSE 'FAILED' END,
       ids[1],
       status = 'posted',
       CASE WHEN status <> 'posted' THEN 'not sent' END,
       claimed_at - interval '5 seconds', claimed_at, due, claimed_at + interval '15 minutes'
FROM sandbox.draft
WHERE status IN ('posted', 'failed') AND sandbox.chance(n, 'attempt') >= 0.03;

INSERT INTO public.system_events (id, event_type, event_data, severity, created_at, component)
SELECT md5('success ' || n)::uuid,
       CASE type WHEN 'reply' THEN 'REPLY_SUCCESS' ELSE 'POST_SUCCESS' END,
       jsonb_build_object('decision_id', post, 'tweet_id', ids[1]), 'info', due, 'postingQueue'
FROM sandbox.draft
WHERE status = 'posted' AND n % 1000 = 7;
