-- Notes what became of claims; those that were settled meanwhile stay as they are.
-- Parameters: $1 text JSON list of {id, came}; came is null for what can no longer be told.
-- Columns: settled (how many).
WITH done AS (
  UPDATE healer.forecast f
     SET settled_at = clock_timestamp(), came = s.came
    FROM jsonb_to_recordset($1::text::jsonb) AS s (id bigint, came boolean)
   WHERE f.id = s.id AND f.settled_at IS NULL
  RETURNING 1
)
SELECT count(*) AS settled FROM done
