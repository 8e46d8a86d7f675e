-- What the brake must know of earlier runs: requeues of the last 24 hours, and whether it is on.
-- A person releases it by a run that looked at stuck posts and was allowed to change some.
-- Parameters: none.
-- Columns: requeued_day, braked_at.
SELECT (SELECT count(*) FROM healer.action a
         WHERE a.action = 'reset_status_to_queued' AND a.applied_at > now() - interval '24 hours'
           AND a.undone_at IS NULL) AS requeued_day,
       (SELECT max(r.started_at) FROM healer.run r
         WHERE r.pass = 'heal' AND r.brake
           AND r.started_at > coalesce((SELECT max(x.started_at) FROM healer.run x
                                         WHERE x.pass = 'heal' AND x.max_actions > 0
                                           AND x.checks @> '[{"name": "stuck-posts"}]'), '-infinity')
       ) AS braked_at
