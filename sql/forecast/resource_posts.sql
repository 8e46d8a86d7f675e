-- Branch of forecast/resources: posts that are due and wait. Their limit is what is posted in a day: more are sent a day late.
-- {backlog_limit}: a limit of the configuration, or 0.
SELECT 'posts waiting'::text AS resource,
       (SELECT count(*) FROM (SELECT 1 FROM {posts} p
                               WHERE p.{status} IN ({waiting_words}) AND coalesce({scheduled_at} <= now(), true) LIMIT 100000) w)::double precision AS value,
       CASE WHEN {backlog_limit} > 0 THEN {backlog_limit}
            ELSE nullif((SELECT count(*) FROM (SELECT 1 FROM {posts} p
                          WHERE {is_posted} AND {posted_at} > now() - interval '7 days' AND {posted_at} <= now() LIMIT 100000) d), 0) / 7.0
            END::double precision AS most
