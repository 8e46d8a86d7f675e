-- The posted posts of the window with what they earned, oldest first.
-- Parameters: none. {generator}, {test}, {simulated}, {objective_column} and the figures: expressions of what exists here.
-- Columns: generator; flags (bits 0 and 1 the kind: 0 single, 1 thread, 2 reply; 4 simulated, 8 test post, 16 no real
--   id, 32 no outcome); numbers: posted, chosen and collected in seconds since 1970, impressions, likes, retweets,
--   replies, followers gained, before and after, and the objective's column. Packed, because a million rows go this way.
SELECT {generator} AS generator,
       (CASE {type} WHEN 'thread' THEN 1 WHEN 'reply' THEN 2 ELSE 0 END
        + CASE WHEN {simulated} THEN 4 ELSE 0 END + CASE WHEN {test} THEN 8 ELSE 0 END
        + CASE WHEN p.{external_id}::text ~ {real} THEN 0 ELSE 16 END
        + CASE WHEN {outcome_missing} THEN 32 ELSE 0 END)::bigint AS flags,
       ARRAY[date_part('epoch', {posted_at}), date_part('epoch', {created_at}), date_part('epoch', {collected_at}),
             {impressions}, {likes}, {retweets}, {replies}, {followers_gained}, {followers_before}, {followers_after},
             {objective_column}]::float8[] AS numbers
  FROM {posts} p
  LEFT JOIN {outcomes} o ON {outcome_match}{test_join}
 WHERE {is_posted} AND {posted_at} >= now() - {content_window}
 ORDER BY {posted_at}, p.{id}
