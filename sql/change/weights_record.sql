-- Notes the weights in force where they are not those that were noted last.
-- Parameters: $1 bigint the run that set them, -1 where they are only noticed; $2 text JSON of the formats where none
--   are stored yet, '' for unknown; $3 text the same of hours.
-- {weights_in_force}: the active generators with their weights as one JSON object.
-- Columns: id, if they were noted.
WITH now_in_force AS (
  SELECT {weights_in_force} AS generators,
         coalesce((SELECT s.value FROM healer.setting s WHERE s.name = 'content.formats'), nullif($2::text, '')::jsonb) AS formats,
         coalesce((SELECT s.value FROM healer.setting s WHERE s.name = 'content.hours'), nullif($3::text, '')::jsonb) AS hours
), last AS (
  SELECT w.generators, w.formats, w.hours FROM healer.content_weights w ORDER BY w.id DESC LIMIT 1
)
INSERT INTO healer.content_weights (run_id, generators, formats, hours)
SELECT nullif($1::bigint, -1), n.generators, n.formats, n.hours
  FROM now_in_force n
 WHERE NOT EXISTS (SELECT 1 FROM last l
                    WHERE l.generators IS NOT DISTINCT FROM n.generators AND l.formats IS NOT DISTINCT FROM n.formats
                      AND l.hours IS NOT DISTINCT FROM n.hours)
RETURNING id
