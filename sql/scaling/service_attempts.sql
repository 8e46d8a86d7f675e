-- Part of scaling/load: how many seconds a post takes, by the attempts of the last day.
(SELECT avg(d.s)
   FROM (SELECT extract(epoch FROM {post_attempts_used_at} - {post_attempts_approved_at})::double precision AS s
           FROM {post_attempts} r
          WHERE {post_attempts_used_at} >= {post_attempts_approved_at} AND {post_attempts_used_at} <= now()
            AND {post_attempts_approved_at} > now() - interval '1 day'{post_attempts_of_2_days}
          LIMIT 10000) d)
