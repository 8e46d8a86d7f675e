-- Purpose: posted rows without an id or with a placeholder, and the innocent neighbours.
-- Parameters: none. Columns: none.

-- A ledger knows the id.
SELECT sandbox.plant('missing-ids', 'id_filled', 'posted 5 h ago without an id, the receipt names it', 'posted',
                     created => '8 hours', scheduled => '304 minutes', posted => '5 hours', receipt => 1);
SELECT sandbox.plant('missing-ids', 'id_filled', 'posted 7 h ago, a thread of 3 without an id, the receipt names all parts', 'posted',
                     created => '9 hours', scheduled => '426 minutes', posted => '7 hours', type => 'thread', parts => 3, receipt => 3);
SELECT sandbox.plant('missing-ids', 'id_filled', 'posted 9 h ago with the placeholder posted_, the attempt names the id', 'posted',
                     created => '12 hours', scheduled => '544 minutes', posted => '9 hours', attempt => 'success',
                     tweet_id => 'posted_1734012345678');
SELECT sandbox.plant('missing-ids', 'id_filled', 'replied 3 h ago with the placeholder reply_, the event names the id', 'posted',
                     created => '5 hours', scheduled => '184 minutes', posted => '3 hours', type => 'reply', event => true,
                     tweet_id => 'reply_1734067890123_x');

-- No ledger knows it: entered for the application's own recovery, never queued again.
SELECT sandbox.plant('missing-ids', 'id_recovery', 'posted 2 h ago without an id, no trace in any ledger', 'posted',
                     created => '5 hours', scheduled => '124 minutes', posted => '2 hours');
SELECT sandbox.plant('missing-ids', 'id_recovery', 'posted 13 h ago without an id, no trace in any ledger', 'posted',
                     created => '16 hours', scheduled => '784 minutes', posted => '13 hours');
SELECT sandbox.plant('missing-ids', 'id_recovery', 'posted 20 h ago without an id, the attempt succeeded without one too', 'posted',
                     created => '23 hours', scheduled => '1204 minutes', posted => '20 hours', attempt => 'success_without_id');
SELECT sandbox.plant('missing-ids', 'id_recovery', 'replied 6 h ago with the placeholder reply_, no trace in any ledger', 'posted',
                     created => '8 hours', scheduled => '364 minutes', posted => '6 hours', type => 'reply',
                     tweet_id => 'reply_1734051234567_a');
SELECT sandbox.plant('missing-ids', 'id_recovery', 'posted 10 h ago with the placeholder pending_, no trace in any ledger', 'posted',
                     created => '12 hours', scheduled => '604 minutes', posted => '10 hours', tweet_id => 'pending_1734031234567');

-- Innocent neighbours.
SELECT sandbox.plant('missing-ids', 'untouched', 'posted 3 days ago without an id: outside the window', 'posted',
                     created => '4 days', scheduled => '3 days 4 minutes', posted => '3 days');
SELECT sandbox.plant('missing-ids', 'untouched', 'posted 4 h ago with a real id, no ledger knows it', 'posted',
                     created => '6 hours', scheduled => '244 minutes', posted => '4 hours',
                     tweet_id => sandbox.external_id(3, 'real', now() - interval '4 hours'));
