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
