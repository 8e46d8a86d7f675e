-- The limits that healer has learned.
-- Parameters: none.
-- Columns: name (without the prefix), value (as text), locked, word (what the name ends in), literal (that word, quoted).
SELECT substr(s.name, 7) AS name, s.value::text AS value, s.locked,
       regexp_replace(s.name, '^tuned\.heal\.(stuck-posts\.limits|job-heartbeats\.(intervals|running_limits))\.', '') AS word,
       quote_literal(regexp_replace(s.name, '^tuned\.heal\.(stuck-posts\.limits|job-heartbeats\.(intervals|running_limits))\.', '')) AS literal
  FROM healer.setting s
 WHERE s.name >= 'tuned.' AND s.name < 'tuned/'
 ORDER BY s.name
 LIMIT 500
