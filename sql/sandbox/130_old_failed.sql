-- Purpose: failures of more than a week ago, those of them that may be live, and the innocent neighbours.
-- Parameters: none. Columns: none.

-- Plainly failed before anything was sent: archived.
SELECT sandbox.plant('old-failed', 'archived', 'failed ' || days || ' days ago, plainly (' || n || ')', 'failed',
                     created => days * interval '1 day' + interval '5 hours', scheduled => days * interval '1 day' + interval '1 hour',
                     updated => days * interval '1 day',
                     type => CASE n % 5 WHEN 0 THEN 'thread' WHEN 1 THEN 'reply' ELSE 'single' END,
                     parts => CASE n % 5 WHEN 0 THEN 4 ELSE 1 END,
                     error => (ARRAY['browser launch failed: out of memory',
                                     'net::ERR_NAME_NOT_RESOLVED while opening the composer',
                                     'login page shown: session expired',
                                     'quality gate: 0.41 is below 0.60'])[1 + n % 4],
                     features => '{"retry_count": 3}',
                     attempt => CASE WHEN n % 3 = 0 THEN 'failed' END)
FROM (SELECT n, 8 + n % 18 AS days FROM generate_series(1, 60) AS n) AS failures;

-- Possibly live, or known as sent: listed, never archived.
SELECT sandbox.plant('old-failed', 'listed', 'failed 9 days ago, timed out after the submit', 'failed',
                     created => '9 days 4 hours', scheduled => '9 days 10 minutes', updated => '9 days',
                     error => 'Timeout waiting for confirmation after submit', features => '{"retry_count": 1}');
SELECT sandbox.plant('old-failed', 'listed', 'failed 10 days ago, and the receipt names its id', 'failed',
                     created => '10 days 4 hours', scheduled => '10 days 10 minutes', updated => '10 days',
                     error => 'saving the id failed', receipt => 1);
SELECT sandbox.plant('old-failed', 'listed', 'failed 14 days ago, and the attempt succeeded', 'failed',
                     created => '14 days 4 hours', scheduled => '14 days 10 minutes', updated => '14 days',
                     error => 'saving the id failed', attempt => 'success');

-- Innocent neighbours.
SELECT sandbox.plant('old-failed', 'untouched', 'written 8 days ago, failed an hour ago', 'failed',
                     created => '8 days', scheduled => '70 minutes', updated => '1 hour',
                     error => 'login page shown: session expired');
SELECT sandbox.plant('old-failed', 'untouched', 'failed 6 days ago', 'failed',
                     created => '6 days 3 hours', scheduled => '6 days 10 minutes', updated => '6 days',
                     error => 'browser launch failed: out of memory');
SELECT sandbox.plant('old-failed', 'untouched', 'failed 9 days ago and scheduled for the day after tomorrow', 'failed',
                     created => '11 days', scheduled => '-2 days', updated => '9 days',
                     error => 'browser launch failed: out of memory');
SELECT sandbox.plant('old-failed', 'untouched', 'cancelled 12 days ago', 'cancelled',
                     created => '13 days', scheduled => '12 days', updated => '12 days');
