-- Purpose: posts in posting, each with what the ledgers say of it, and the innocent neighbours.
-- Parameters: none. Columns: none.

-- Nothing was sent: back to the queue.
SELECT sandbox.plant('stuck-posts', 'queued', story, 'posting', created::interval, scheduled::interval, updated::interval,
                     type => type, parts => parts)
FROM (VALUES
    ('stuck 47 min, no trace in any ledger', '3 hours', '49 minutes', '47 minutes', 'single', 1),
    ('stuck 52 min, no trace in any ledger', '4 hours', '55 minutes', '52 minutes', 'single', 1),
    ('stuck 1 h 10, no trace in any ledger', '2 hours', '72 minutes', '70 minutes', 'reply', 1),
    ('stuck 1 h 35, no trace in any ledger', '6 hours', '97 minutes', '95 minutes', 'single', 1),
    ('stuck 2 h, a thread of 4 with no trace in any ledger', '5 hours', '123 minutes', '120 minutes', 'thread', 4),
    ('stuck 3 h, a reply with no trace in any ledger', '4 hours', '182 minutes', '180 minutes', 'reply', 1),
    ('stuck 5 h, no trace in any ledger', '9 hours', '302 minutes', '300 minutes', 'single', 1),
    ('stuck 11 h, no trace in any ledger', '14 hours', '664 minutes', '660 minutes', 'single', 1)
) AS posts (story, created, scheduled, updated, type, parts);

SELECT sandbox.plant('stuck-posts', 'queued', 'stuck 58 min, the attempt ended as failed before the submit', 'posting',
                     created => '3 hours', scheduled => '60 minutes', updated => '58 minutes', attempt => 'failed');

-- A ledger proves that it was sent: it becomes posted.
SELECT sandbox.plant('stuck-posts', 'posted', 'stuck 44 min, the receipt names its id', 'posting',
                     created => '2 hours', scheduled => '46 minutes', updated => '44 minutes', receipt => 1);
SELECT sandbox.plant('stuck-posts', 'posted', 'stuck 75 min, a thread of 4 whose receipt names all 4 parts', 'posting',
                     created => '3 hours', scheduled => '78 minutes', updated => '75 minutes', type => 'thread', parts => 4, receipt => 4);
SELECT sandbox.plant('stuck-posts', 'posted', 'stuck 63 min, the attempt succeeded with an id', 'posting',
                     created => '2 hours', scheduled => '65 minutes', updated => '63 minutes', attempt => 'success');
SELECT sandbox.plant('stuck-posts', 'posted', 'stuck 90 min, the event POST_SUCCESS names it', 'posting',
                     created => '3 hours', scheduled => '92 minutes', updated => '90 minutes', event => true);
SELECT sandbox.plant('stuck-posts', 'posted', 'stuck 82 min, a reply that the event REPLY_SUCCESS names', 'posting',
                     created => '2 hours', scheduled => '84 minutes', updated => '82 minutes', type => 'reply', event => true);
SELECT sandbox.plant('stuck-posts', 'posted', 'stuck 55 min, the row has a real id already', 'posting',
                     created => '2 hours', scheduled => '57 minutes', updated => '55 minutes',
                     tweet_id => sandbox.external_id(1, 'own', now() - interval '51 minutes'));
SELECT sandbox.plant('stuck-posts', 'posted', 'stuck 2 h, an orphan id in features', 'posting',
                     created => '4 hours', scheduled => '122 minutes', updated => '120 minutes',
                     features => jsonb_build_object('retry_count', 1, 'receipt_write_failed', true, 'tweet_id_orphan',
                                                    sandbox.external_id(2, 'orphan', now() - interval '115 minutes')));

-- Nobody can say: held for a person.
SELECT sandbox.plant('stuck-posts', 'held', 'stuck 66 min, an attempt began and has no outcome', 'posting',
                     created => '3 hours', scheduled => '68 minutes', updated => '66 minutes', attempt => 'begun');
SELECT sandbox.plant('stuck-posts', 'held', 'stuck 84 min, a thread of 4 whose receipt names 2 parts', 'posting',
                     created => '3 hours', scheduled => '87 minutes', updated => '84 minutes', type => 'thread', parts => 4, receipt => 2);
SELECT sandbox.plant('stuck-posts', 'held', 'stuck 29 h, scheduled 30 h ago: too late to send', 'posting',
                     created => '33 hours', scheduled => '30 hours', updated => '29 hours');

-- Innocent neighbours.
SELECT sandbox.plant('stuck-posts', 'untouched', 'posting for 12 min: at work', 'posting',
                     created => '2 hours', scheduled => '13 minutes', updated => '12 minutes', attempt => 'begun');
SELECT sandbox.plant('stuck-posts', 'untouched', 'posting for 8 min: a thread at work', 'posting',
                     created => '2 hours', scheduled => '9 minutes', updated => '8 minutes', type => 'thread', parts => 5);
SELECT sandbox.plant('stuck-posts', 'untouched', 'written 9 h ago, claimed 5 min ago', 'posting',
                     created => '9 hours', scheduled => '6 minutes', updated => '5 minutes', attempt => 'begun');
SELECT sandbox.plant('stuck-posts', 'untouched', 'queued and written 20 h ago: waits for its time', 'queued',
                     created => '20 hours', scheduled => '-2 hours', updated => '20 hours');
SELECT sandbox.plant('stuck-posts', 'untouched', 'ready for 50 min: waits for the browser', 'ready',
                     created => '6 hours', scheduled => '50 minutes', updated => '50 minutes');
SELECT sandbox.plant('stuck-posts', 'untouched', 'a draft of 3 days ago', 'draft', created => '3 days');
SELECT sandbox.plant('stuck-posts', 'untouched', 'failed 40 min ago with three tries behind it', 'failed',
                     created => '3 hours', scheduled => '80 minutes', updated => '40 minutes',
                     error => 'the composer did not open: selector not found', features => '{"retry_count": 3}', attempt => 'failed');
