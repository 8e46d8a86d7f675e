-- Purpose: 30 days of events. Errors tell four stories: a rate-limit storm yesterday that opened the breaker, an error
--          that is new since the deployment 20 hours ago, one that went away 10 days ago, and a job that flaps.
-- Parameters: none. Columns: none.

-- The queue looks for work every five minutes. While the breaker was open it started nothing.
INSERT INTO public.system_events (id, event_type, event_data, severity, created_at, component)
SELECT md5('tick ' || n)::uuid, 'POSTING_QUEUE_TICK',
       jsonb_build_object('ready_candidates', 1 + floor(sandbox.chance(n, 'ready') * 4)::int,
                          'selected_candidates', CASE WHEN breaker_open THEN 0 ELSE 1 + floor(sandbox.chance(n, 'ready') * 3)::int END,
                          'attempts_started', CASE WHEN breaker_open THEN 0 ELSE 1 + floor(sandbox.chance(n, 'ready') * 2)::int END),
       'info', at, 'postingQueue'
FROM (SELECT n, at, at BETWEEN now() - interval '25.8 hours' AND now() - interval '24.7 hours' AS breaker_open
      FROM (SELECT n::bigint, now() - n * interval '5 minutes' + interval '3 minutes' AS at
            FROM generate_series(1, 8640) AS n) AS timed) AS ticks;

-- Each kind: how many, from how long ago, until how long ago, and its words with # for a number.
INSERT INTO public.system_events (id, event_type, event_data, severity, created_at, component, message)
SELECT md5(kind || from_text || n)::uuid, 'error_' || kind,
       jsonb_build_object('component', component, 'error_type', kind, 'error_message', words,
                          'context', jsonb_build_object('attempt', 1 + floor(sandbox.chance(n, kind || 'try') * 3)::int),
                          'metadata', jsonb_build_object('host', 'worker-' || (1 + floor(sandbox.chance(n, kind || 'host') * 3)::int)),
                          'frequency', 1),
       severity, now() - (until_ago + sandbox.chance(n, kind || 'at') * (from_ago - until_ago)), component, words
FROM (SELECT kinds.*, n::bigint,
             replace(replace(text, '#', (floor(sandbox.chance(n, kind || 'words') * 9000) + 1000)::text), '~',
                     substr(md5(kind || n), 1, 8)) AS words
      FROM (VALUES
          ('browser_queue_timeout', 'browserSemaphore', 110, '30 days', '2 hours', 'error', 'browser operation reply_posting waited # ms in the queue'),
          ('post_failure', 'postingQueue', 230, '30 days', '1 hour', 'error', 'post ~ failed: the composer did not accept the text after # ms'),
          ('queue_processing_failed', 'postingQueue', 80, '30 days', '3 hours', 'error', 'queue pass failed: canceling statement due to statement timeout after # ms'),
          ('null_tweet_id', 'postingQueue', 150, '30 days', '1 hour', 'warning', 'post ~ was sent and no id was read within # ms'),
          ('rate_limit_check_failed', 'rateLimiter', 45, '30 days', '5 hours', 'error', 'rate limit check failed: fetch failed after # ms'),
          ('rate_limit_exception', 'rateLimiter', 30, '30 days', '2 days', 'error', 'HTTP 429: rate limit exceeded, retry after # s'),
          ('rate_limit_exception', 'rateLimiter', 164, '26 hours', '24.7 hours', 'critical', 'HTTP 429: rate limit exceeded, retry after # s'),
          ('database_save_failed', 'database', 62, '30 days', '4 hours', 'error', 'saving post ~ failed: remaining connection slots are reserved (# clients)'),
          ('database_save_final_failure', 'database', 9, '30 days', '1 day', 'critical', 'saving post ~ failed # times: giving up'),
          ('retry_queue_storage_failed', 'retryQueue', 11, '30 days', '1 day', 'error', 'retry queue not stored: ENOSPC, # bytes'),
          ('post_tracking_failed', 'tracking', 58, '30 days', '2 hours', 'warning', 'tracking of post ~ failed: unexpected token < in JSON at position #'),
          ('missing_id_alert', 'tracking', 60, '30 days', '2 hours', 'warning', 'post ~ has had no id for # s'),
          ('healing_cycle_failed', 'selfHealing', 14, '30 days', '2 days', 'error', 'healing cycle failed: column "failed_at" does not exist at character #'),
          ('optimization_failed', 'optimizer', 8, '30 days', '2 days', 'error', 'optimization failed: no outcomes in # posts'),
          ('session_expired', 'browser', 22, '30 days', '1 day', 'error', 'login page shown for account ~: session expired # s ago'),
          -- Went away with the deployment 10 days ago.
          ('media_upload_failed', 'mediaUploader', 240, '30 days', '10 days', 'error', 'upload of image ~ failed: connect ETIMEDOUT 104.244.42.1:443 after # ms'),
          -- New since the deployment 20 hours ago, and growing.
          ('composer_selector_missing', 'browser', 74, '19.8 hours', '10 minutes', 'error', 'selector [data-testid="tweetTextarea_~"] not found within # ms')
      ) AS kinds (kind, component, number, from_text, until_text, severity, text),
      LATERAL generate_series(1, number) AS n) AS drawn,
     LATERAL (SELECT from_text::interval AS from_ago, until_text::interval AS until_ago) AS bounds;

-- The flapping job: for three days every other run of peer_scraper has failed; it runs every 30 minutes.
INSERT INTO public.system_events (id, event_type, event_data, severity, created_at, component, message)
SELECT md5('flapping ' || n)::uuid, 'error_queue_processing_failed',
       jsonb_build_object('component', 'peer_scraper', 'error_type', 'queue_processing_failed',
                          'error_message', 'page crashed: Target closed after ' || 4000 + n * 7 || ' ms',
                          'context', '{}'::jsonb, 'metadata', '{}'::jsonb, 'frequency', 1),
       'error', now() - n * interval '60 minutes' - interval '9 minutes', 'peer_scraper',
       'page crashed: Target closed after ' || 4000 + n * 7 || ' ms'
FROM generate_series(0, 71) AS n;

-- The storm as the executor and the breaker told it.
INSERT INTO public.system_events (id, event_type, event_data, severity, created_at, component, message)
SELECT md5('storm ' || n)::uuid, 'EXECUTOR_RATE_LIMIT_HIT', jsonb_build_object('endpoint', '/compose', 'retry_after', 900),
       'warning', now() - interval '26 hours' + n * interval '40 seconds', 'executor', 'rate limit hit'
FROM generate_series(1, 18) AS n
UNION ALL
SELECT md5('blocked ' || n)::uuid, 'POSTING_QUEUE_BLOCKED', jsonb_build_object('reason', 'circuit_breaker_open', 'failures', 15),
       'warning', now() - interval '25.8 hours' + n * interval '5 minutes', 'postingQueue', 'blocked: circuit breaker open'
FROM generate_series(0, 12) AS n;

INSERT INTO public.system_events (id, event_type, event_data, severity, created_at, component, message)
SELECT md5(type || ago)::uuid, type, data::jsonb, severity, now() - ago::interval, component, message
FROM (VALUES
    ('posting_consecutive_failures', '25.8 hours', '{"job": "posting", "failures": 15}', 'critical', 'postingQueue', '15 posts failed in a row: the breaker opens'),
    ('circuit_breaker_stuck', '25.1 hours', '{"open_for_minutes": 42}', 'critical', 'postingQueue', 'the breaker has been open for 42 min'),
    ('circuit_breaker_forced_reset', '24.7 hours', '{"open_for_minutes": 66}', 'warning', 'postingQueue', 'the breaker was reset'),
    ('DEPLOYMENT', '20 hours', '{"version": "4.31.0", "commit": "9f3c2ab"}', 'info', 'deploy', 'version 4.31.0'),
    ('DEPLOYMENT', '10 days', '{"version": "4.30.2", "commit": "51be07d"}', 'info', 'deploy', 'version 4.30.2'),
    ('DEPLOYMENT', '17 days', '{"version": "4.30.1", "commit": "c0a4d19"}', 'info', 'deploy', 'version 4.30.1'),
    -- Innocent neighbours: the names begin like an error's.
    ('error_spike_alert', '25.7 hours', '{"component": "monitor", "count": 120}', 'warning', 'monitor', '120 errors in 10 min'),
    ('error_analysis_complete', '12 days', '{"top_failures": []}', 'info', 'errorAnalysis', 'analysis complete')
) AS told (type, ago, data, severity, component, message);

-- Failed posts say so once.
INSERT INTO public.system_events (id, event_type, event_data, severity, created_at, component, message)
SELECT md5('post failed ' || n)::uuid, 'POST_FAILED', jsonb_build_object('decision_id', post, 'type', type), 'error',
       least(due + interval '3 seconds', now()), 'postingQueue', 'post ' || post || ' failed'
FROM sandbox.draft WHERE status = 'failed';
