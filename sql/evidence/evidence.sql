-- What every ledger, the journal and the list of held posts say of a batch of posts.
-- Parameters: $1 text[] ids of the posts; $2 timestamptz time of the oldest of them (bounds the events).
-- {branches}: one SELECT for each readable ledger (the other files of this folder), joined by UNION ALL.
-- Columns: post, ledger, kind, external_id (of the newest row), at (newest), parts (most), rows, note (newest).
WITH keys (post) AS MATERIALIZED (SELECT unnest($1::text[]))
SELECT e.post, e.ledger, e.kind,
       (array_agg(e.external_id ORDER BY e.at DESC NULLS LAST))[1] AS external_id,
       max(e.at) AS at, max(e.parts) AS parts, count(*) AS rows,
       (array_agg(e.note ORDER BY e.at DESC NULLS LAST))[1] AS note
  FROM (
{branches}
  ) e
 -- Of attempts that failed each wording stands alone: a harmless one does not cover one that came after the submit.
 GROUP BY e.post, e.ledger, e.kind, CASE WHEN e.kind = 'failed' THEN e.note END
