-- What there is to do, how fast it comes, how long one piece of it takes, and what the looks before said.
-- Posts are counted by their status, so that the table is never read whole: one that came and failed within the hour is
-- not seen.
-- {posts_now}: report/posts_now, which counts within bounds of its own.
-- {service}: scaling/service_attempts or scaling/service_posts, or NULL where neither can be had.
-- Parameters: $1 bigint seconds back.
-- Columns: waiting, by_status (JSON: posts by their status), arrivals (in the last hour), service_s, browser_waiting,
--   browser_ops (in the last hour), browser_held_s, before (JSON, newest first: [age_s, workers_needed, workers, slots_needed, slots]).
SELECT (SELECT count(*) FROM (SELECT 1 FROM {posts} p
                               WHERE p.{status} IN ({waiting_words}) AND coalesce({scheduled_at} <= now(), true) LIMIT 100000) w) AS waiting,
       (SELECT jsonb_object_agg(n.status, n.posts) FROM (
{posts_now}
       ) n) AS by_status,
       (SELECT count(*) FROM (SELECT 1 FROM {posts} p
                               WHERE p.{status} IN ({open_words})
                                 AND coalesce({scheduled_at}, {created_at}) > now() - interval '1 hour'
                                 AND coalesce({scheduled_at}, {created_at}) <= now() LIMIT 100000) a)
       + (SELECT count(*) FROM (SELECT 1 FROM {posts} p
                                 WHERE {is_posted} AND {posted_at} > now() - interval '1 hour' AND {posted_at} <= now()
                                   AND coalesce({scheduled_at}, {created_at}) > now() - interval '1 hour' LIMIT 100000) d) AS arrivals,
       ({service})::double precision AS service_s,
       (SELECT CASE WHEN (g.data ->> 'queued')::double precision >= 0 THEN floor((g.data ->> 'queued')::double precision)::bigint END
          FROM healer.signal g
         WHERE g.name = 'browser' AND g.reported_at > now() - interval '15 minutes' AND g.reported_at <= now() + interval '1 minute'
           AND jsonb_typeof(g.data -> 'queued') = 'number'
         ORDER BY g.reported_at DESC LIMIT 1) AS browser_waiting,
       o.ops AS browser_ops, o.held_s AS browser_held_s,
       (SELECT jsonb_agg(jsonb_build_array(s.age_s, s.workers_needed, s.workers, s.slots_needed, s.slots) ORDER BY s.age_s)
          FROM (SELECT extract(epoch FROM now() - q.at)::bigint AS age_s, q.workers_needed, q.workers, q.slots_needed, q.slots
                  FROM healer.scaling_sample q
                 WHERE q.at > now() - $1::bigint * interval '1 second' AND q.at <= now()
                 ORDER BY q.at DESC LIMIT 200) s) AS before
  FROM (SELECT count(*) FILTER (WHERE g.reported_at > now() - interval '1 hour') AS ops,
               avg((g.data ->> 'held_ms')::double precision / 1000) AS held_s
          FROM (SELECT s.reported_at, s.data FROM healer.signal s
                 WHERE s.name = 'browser_op' AND s.reported_at > now() - interval '6 hours' AND s.reported_at <= now()
                   AND jsonb_typeof(s.data -> 'ok') = 'boolean' AND jsonb_typeof(s.data -> 'held_ms') = 'number'
                 ORDER BY s.reported_at DESC LIMIT 5000) g
         WHERE (g.data ->> 'held_ms')::double precision >= 0) o
