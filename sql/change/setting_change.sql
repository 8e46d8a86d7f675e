-- Changes settings of healer's own where they still hold what was seen and are not locked; journals them.
-- Parameters: $1 text[] names; $2 text[] values seen as JSON, '' for none; $3 text[] new values as JSON; $4 text[] reasons;
--   $5 text[] evidence as JSON; $6 text check; $7 text type; $8 bigint run.
-- Columns: name, of those that were changed.
WITH wanted AS MATERIALIZED (
  SELECT w.name, nullif(w.seen, '')::jsonb AS seen, w.value::jsonb AS value, w.reason, w.evidence::jsonb AS evidence
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) AS w (name, seen, value, reason, evidence)
), updated AS (
  UPDATE healer.setting s
     SET value = w.value, updated_at = clock_timestamp()
    FROM wanted w
   WHERE s.name = w.name AND s.value = w.seen AND NOT s.locked
  RETURNING s.name, s.value
), inserted AS (
  INSERT INTO healer.setting (name, value)
  SELECT w.name, w.value FROM wanted w WHERE w.seen IS NULL
  ON CONFLICT (name) DO NOTHING
  RETURNING name, value
)
INSERT INTO healer.action (run_id, check_name, type, action, relation, target, before, after, reason, evidence)
SELECT $8::bigint, $6::text, $7::text, 'change_setting', 'healer.setting', c.name,
       CASE WHEN w.seen IS NOT NULL THEN jsonb_build_object('value', w.seen) END, jsonb_build_object('value', c.value),
       w.reason, w.evidence
  FROM (SELECT * FROM updated UNION ALL SELECT * FROM inserted) c
  JOIN wanted w ON w.name = c.name
RETURNING target AS name
