-- How long stuck posts of the last 30 days stayed stuck: from the claim, as the journal holds it, until healer changed
-- them; for held ones from the hold until it was resolved.
-- {claim_key}: the key of the claim time in the journal, or NULL where it is not in there.
-- Parameters: none.
-- Columns: posts, median_s.
SELECT count(*) AS posts, (percentile_cont(0.5) WITHIN GROUP (ORDER BY t.s))::bigint AS median_s
  FROM (SELECT CASE WHEN isfinite((a.before ->> {claim_key})::timestamptz)
                    THEN extract(epoch FROM a.applied_at - (a.before ->> {claim_key})::timestamptz) END AS s
          FROM healer.action a
         WHERE a.check_name = 'stuck-posts' AND a.undone_at IS NULL AND a.applied_at > now() - interval '30 days'
        UNION ALL
        SELECT extract(epoch FROM h.resolved_at - h.held_at)
          FROM healer.held_post h
         WHERE h.check_name = 'stuck-posts' AND h.resolved_at > now() - interval '30 days') t
 WHERE t.s >= 0
