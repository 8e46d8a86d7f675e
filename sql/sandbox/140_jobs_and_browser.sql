-- Purpose: one line a job, sick ones among them, and what the events of the last hour say of the browser.
-- Parameters: none. Columns: none.

INSERT INTO public.job_heartbeats (job_name, last_success, last_failure, last_run_status, last_error, consecutive_failures, updated_at)
SELECT name, now() - success::interval, now() - failure::interval, status, error, failures, now() - updated::interval
FROM (VALUES
    ('posting', '2 minutes', '1 day', 'success', NULL, 0, '2 minutes'),
    ('plan', '2 hours', '9 days', 'running', NULL, 0, '3 minutes'),
    ('health_check', '1 minute', NULL, 'success', NULL, 0, '1 minute'),
    ('id_recovery', '4 minutes', '2 days', 'success', NULL, 0, '4 minutes'),
    ('trend_refresh', '25 minutes', '5 days', 'success', NULL, 0, '25 minutes'),
    -- Late: it runs every 15 minutes.
    ('reply_posting', '3 hours', '4 days', 'success', NULL, 0, '3 hours'),
    -- Failing in a row.
    ('metrics_scraper', '92 minutes', '6 minutes', 'failure', 'page.goto: Timeout 45000 ms exceeded', 4, '6 minutes'),
    -- Always skipped.
    ('learn', '13 hours', NULL, 'skipped', 'skipped: memory 94 % used', 0, '8 minutes'),
    -- Running for too long.
    ('account_discovery', '9 hours', '3 days', 'running', NULL, 0, '200 minutes'),
    -- A stray word for failure.
    ('attribution', '95 minutes', '30 minutes', 'failed', 'relation "tweet_metrics" does not exist', 1, '30 minutes'),
    -- Flapping.
    ('peer_scraper', '39 minutes', '9 minutes', 'failure', 'page crashed: Target closed after 4007 ms', 1, '9 minutes')
) AS jobs (name, success, failure, status, error, failures, updated);

INSERT INTO public.system_events (id, event_type, event_data, severity, created_at, component, message)
SELECT md5('browser wait ' || n)::uuid, 'error_browser_queue_timeout',
       jsonb_build_object('component', 'browserSemaphore', 'error_type', 'browser_queue_timeout',
                          'error_message', 'browser operation metrics_scraper waited ' || 181000 + n * 977 || ' ms in the queue',
                          'context', jsonb_build_object('queued', 6 + n, 'active', 1), 'metadata', '{}'::jsonb, 'frequency', 1),
       'error', now() - n * interval '6 minutes', 'browserSemaphore',
       'browser operation metrics_scraper waited ' || 181000 + n * 977 || ' ms in the queue'
FROM generate_series(1, 6) AS n
UNION ALL
SELECT md5('browser blocked ' || n)::uuid, 'POSTING_QUEUE_BLOCKED', '{"reason": "browser_queue_full"}', 'warning',
       now() - n * interval '9 minutes', 'postingQueue', 'blocked: the browser queue is full'
FROM generate_series(1, 3) AS n;
