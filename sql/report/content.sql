-- The weights with which posts were chosen over some time, the oldest first, and what was learned last.
-- Parameters: $1 bigint seconds.
-- Columns: age_s; generators, formats, hours (JSON as text); findings (JSON as text, of the newest only).
SELECT extract(epoch FROM now() - w.at)::bigint AS age_s, w.generators::text AS generators, w.formats::text AS formats,
       w.hours::text AS hours,
       CASE WHEN row_number() OVER (ORDER BY w.id DESC) = 1
            THEN (SELECT s.value::text FROM healer.setting s WHERE s.name = 'content.findings') END AS findings
  FROM (SELECT x.* FROM healer.content_weights x
         WHERE x.at > now() - make_interval(secs => $1::bigint)
            OR x.id = (SELECT max(y.id) FROM healer.content_weights y)
         ORDER BY x.id DESC LIMIT 200) w
 ORDER BY w.id
