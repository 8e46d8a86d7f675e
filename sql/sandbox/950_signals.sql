-- Purpose: what the application reports of itself: one operation holds the browser and twelve wait, and the breaker is
--          closed. It runs after the schema healer exists.
-- Parameters: none. Columns: none.

-- Innocent neighbours: a queue that was full an hour ago, an operation that has ended, a breaker that was open yesterday.
INSERT INTO healer.signal (name, data, reported_at)
VALUES ('browser', '{"queued": 14, "active": 0, "capacity": 1}', now() - interval '70 minutes'),
       ('browser_op', '{"operation": "reply_posting", "waited_ms": 400, "held_ms": 900000, "ok": null}', now() - interval '80 minutes'),
       ('browser_op', '{"operation": "reply_posting", "waited_ms": 400, "held_ms": 1300000, "ok": true}', now() - interval '60 minutes'),
       ('breaker', '{"name": "posting", "open": true, "failures": 15}', now() - interval '23 hours'),
       ('breaker', '{"name": "posting", "open": false, "failures": 0}', now() - interval '22 hours');

SELECT healer.report_browser(12, 1, 1);
SELECT healer.report_browser_op('metrics_scraper', 1200, 3000000, NULL);
SELECT healer.report_breaker('posting', false, 0);

-- The flapping job between its failures: half an hour after each of them it ran well.
INSERT INTO healer.job_run (job, status, at, duration_ms, source)
SELECT 'peer_scraper', 'success', now() - n * interval '60 minutes' - interval '39 minutes', 41000, 'trigger'
  FROM generate_series(0, 72) AS n;
-- Two jobs of the browser that ask for it at the same minute, every 20 minutes, for two days; a third one asks in between.
INSERT INTO healer.signal (name, data, reported_at)
SELECT 'browser_op', jsonb_build_object('operation', o.name, 'waited_ms', o.waited_ms, 'held_ms', o.held_ms, 'ok', (n + o.place) % 29 <> 0),
       now() - interval '2 hours' - n * interval '20 minutes' + o.ends
FROM generate_series(0, 143) AS n,
     (VALUES (0, 'peer_scraper', 100, 240000, interval '240 seconds'),
             (1, 'trend_refresh', 239000, 90000, interval '330 seconds'),
             (2, 'id_recovery', 50, 30000, interval '640 seconds')) AS o (place, name, waited_ms, held_ms, ends);

-- A job that takes seven minutes every time: nothing is wrong with it but that it is slow.
INSERT INTO healer.job_run (job, status, at, duration_ms, source)
SELECT 'archive_export', 'success', now() - n * interval '6 hours' - interval '50 minutes', 420000 + (n % 7) * 8000, 'trigger'
  FROM generate_series(0, 51) AS n;
