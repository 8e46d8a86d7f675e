-- Posts that are held, and decisions of a person on posts that were, with the marks that stood in the row by then.
SELECT k.post, 'held'::text AS ledger,
       CASE WHEN h.resolved_at IS NULL THEN 'held' ELSE 'decided' END AS kind, NULL::text AS external_id,
       coalesce(h.resolved_at, h.held_at) AS at, NULL::bigint AS parts,
       CASE WHEN h.resolved_at IS NULL THEN h.code ELSE h.evidence ->> 'marks' END AS note
  FROM keys k
  JOIN healer.held_post h ON h.post = k.post
 WHERE h.resolved_at IS NULL OR h.resolution = 'queue'
