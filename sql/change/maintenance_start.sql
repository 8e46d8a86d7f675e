-- Journals an action that is about to begin.
-- Parameters: $1 bigint run; $2 text check; $3 text action; $4 text target; $5 text figures before, as JSON; $6 text reason;
--   $7 text evidence, as JSON.
-- Columns: id.
INSERT INTO healer.action (run_id, check_name, type, action, relation, target, before, after, reason, evidence)
VALUES ($1::bigint, $2::text, 'maintenance', $3::text, 'database', $4::text, $5::text::jsonb, '{"outcome": "started"}', $6::text,
        $7::text::jsonb)
RETURNING id
