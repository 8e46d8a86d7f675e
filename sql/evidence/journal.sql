-- The journal: rescues of a post within the window; undone ones do not count.
SELECT k.post, 'journal'::text AS ledger, 'rescue'::text AS kind, NULL::text AS external_id,
       a.applied_at AS at, NULL::bigint AS parts, NULL::text AS note
  FROM keys k
  JOIN healer.action a ON a.target = k.post AND a.applied_at > now() - {rescue_window}
 WHERE a.action = 'reset_status_to_queued' AND a.undone_at IS NULL
