-- Stores patterns of errors and their counts by the hour. What is known (by id, or by its key) is replaced, first_seen
-- only by an earlier time; a count only by a greater one, so that analysing the same time again counts nothing twice.
-- Parameters: $1 text JSON array of {id, key, version, error_key, severity, component, class, sqlstate, http_status, template,
--   example, fingerprints, first_seen, last_seen, standing, view, hours: [[seconds since 1970, errors]]}; $2 bigint run.
-- Columns: stored.
WITH given AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset($1::text::jsonb) AS g (
    id bigint, key text, version int, error_key text, severity text, component text, class text, sqlstate text,
    http_status int, template text, example text, fingerprints jsonb, first_seen timestamptz, last_seen timestamptz,
    standing text, view jsonb, hours jsonb)
), known AS (
  UPDATE healer.error_pattern p
     SET key = g.key, version = g.version, error_key = g.error_key, severity = g.severity, component = g.component,
         class = g.class, sqlstate = g.sqlstate, http_status = g.http_status, template = g.template, example = g.example,
         fingerprints = g.fingerprints, first_seen = least(p.first_seen, g.first_seen),
         last_seen = greatest(p.last_seen, g.last_seen), standing = g.standing, view = g.view, run_id = $2::bigint,
         analysed_at = clock_timestamp()
    FROM given g WHERE p.id = g.id
  RETURNING p.id, g.key
), fresh AS (
  INSERT INTO healer.error_pattern AS p (key, version, error_key, severity, component, class, sqlstate, http_status, template,
      example, fingerprints, first_seen, last_seen, standing, view, run_id)
  SELECT g.key, g.version, g.error_key, g.severity, g.component, g.class, g.sqlstate, g.http_status, g.template,
         g.example, g.fingerprints, g.first_seen, g.last_seen, g.standing, g.view, $2::bigint
    FROM given g WHERE g.id IS NULL
  ON CONFLICT (key) DO UPDATE
     SET last_seen = greatest(p.last_seen, excluded.last_seen), standing = excluded.standing, view = excluded.view,
         fingerprints = excluded.fingerprints, run_id = excluded.run_id, analysed_at = clock_timestamp()
  RETURNING p.id, p.key
), counted AS (
  INSERT INTO healer.error_count AS c (pattern, hour, errors)
  SELECT s.id, to_timestamp((h.value ->> 0)::bigint), (h.value ->> 1)::bigint
    FROM (SELECT * FROM known UNION ALL SELECT * FROM fresh) s
    JOIN given g ON g.key = s.key
   CROSS JOIN LATERAL jsonb_array_elements(g.hours) h
  ON CONFLICT (pattern, hour) DO UPDATE SET errors = greatest(c.errors, excluded.errors)
  RETURNING 1
)
SELECT (SELECT count(*) FROM known) + (SELECT count(*) FROM fresh) + 0 * (SELECT count(*) FROM counted) AS stored
