-- Part of scaling/load: how many seconds a post takes from the claim to being posted, by the last day.
(SELECT avg(d.s)
   FROM (SELECT extract(epoch FROM {posted_at} - {claimed_at})::double precision AS s
           FROM {posts} p
          WHERE {is_posted} AND p.{posted_at_column} > {posted_at_now} - interval '1 day'
            AND p.{posted_at_column} <= {posted_at_now} AND {posted_at} >= {claimed_at} AND isfinite({claimed_at})
          LIMIT 10000) d)
