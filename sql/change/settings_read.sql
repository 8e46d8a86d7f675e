-- The settings of healer's own whose names begin with a prefix.
-- Parameters: $1 text prefix.
-- Columns: name, value (JSON as text), updated_at, locked.
SELECT s.name, s.value::text AS value, s.updated_at, s.locked
  FROM healer.setting s
 WHERE left(s.name, length($1::text)) = $1::text
 ORDER BY s.name
