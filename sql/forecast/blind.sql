-- Spans of the last 30 days in which no heal noted the runs of jobs: longer than $1 between two of its runs, and all
-- before its first.
-- Parameters: $1 bigint seconds between two runs that are still as usual.
-- Columns: from_us, to_us (µs since 1970; from_us is NULL for "ever since").
SELECT (extract(epoch FROM g.before) * 1000000)::bigint AS from_us, (extract(epoch FROM g.at) * 1000000)::bigint AS to_us
  FROM (SELECT lag(r.at) OVER (ORDER BY r.at) AS before, r.at
          FROM (SELECT h.started_at AS at FROM healer.run h
                 WHERE h.pass = 'heal' AND h.started_at > now() - interval '30 days' AND h.finished_at IS NOT NULL
                UNION ALL SELECT now()) r) g
 WHERE g.before IS NULL OR g.at - g.before > $1::bigint * interval '1 second'
 ORDER BY g.at DESC
 LIMIT 500
