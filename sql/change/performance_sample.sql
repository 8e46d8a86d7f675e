-- Notes what a run measured, for the next run and for the report.
-- Parameters: $1 bigint run; $2 text what was told, as JSON; $3 text counters, as JSON.
-- Columns: none.
INSERT INTO healer.performance_sample (run_id, body, counters)
VALUES ($1::bigint, $2::text::jsonb, $3::text::jsonb)
