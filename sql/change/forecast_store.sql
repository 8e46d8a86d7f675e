-- Stores what was foretold: the outlook of every subject in place of the last one, and the claims that are not open yet.
-- A subject that is gone goes from the outlook, where its kind was read: of one that could not be read nothing is known.
-- Parameters: $1 bigint run; $2 text JSON list of {kind, subject, told}; $3 text JSON list of claims; $4 timestamptz when;
--   $5 text[] kinds that were read.
-- Columns: claims (how many were new).
WITH told AS MATERIALIZED (
  SELECT t.kind, t.subject, t.told FROM jsonb_to_recordset($2::text::jsonb) AS t (kind text, subject text, told jsonb)
), kept AS (
  INSERT INTO healer.outlook AS o (kind, subject, told, made_at, run_id)
  SELECT t.kind, t.subject, t.told, $4::timestamptz, $1::bigint FROM told t
  ON CONFLICT (kind, subject) DO UPDATE SET told = excluded.told, made_at = excluded.made_at, run_id = excluded.run_id
  RETURNING 1
), gone AS (
  DELETE FROM healer.outlook o
   WHERE o.kind = ANY ($5::text[])
     AND NOT EXISTS (SELECT 1 FROM told t WHERE t.kind = o.kind AND t.subject = o.subject)
  RETURNING 1
), claimed AS (
  INSERT INTO healer.forecast (run_id, kind, subject, claim, made_at, due_at, probability, baseline, low, high, limit_value, model)
  SELECT $1::bigint, c.kind, c.subject, c.claim, $4::timestamptz, c.due_at, c.probability, c.baseline, c.low, c.high, c.limit_value, c.model
    FROM jsonb_to_recordset($3::text::jsonb) AS c (kind text, subject text, claim text, due_at timestamptz,
         probability double precision, baseline double precision, low double precision, high double precision,
         limit_value double precision, model integer)
  ON CONFLICT (kind, subject, claim) WHERE settled_at IS NULL DO NOTHING
  RETURNING 1
)
SELECT (SELECT count(*) FROM claimed) AS claims
