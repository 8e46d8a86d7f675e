-- healer schema, version 3, content: with which weights posts were chosen, and what the application reads of formats and hours.

-- The weights in force from an instant on. healer notes them whenever they have changed, by itself or by anybody else:
-- what a change did can only be told from the probabilities with which posts were chosen.
CREATE TABLE IF NOT EXISTS healer.content_weights (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- The run that set them; NULL where they were only noticed.
  run_id bigint,
  -- Name → weight of the active ones; NULL where no weights are known.
  generators jsonb,
  formats jsonb,
  hours jsonb
);
CREATE INDEX IF NOT EXISTS content_weights_at ON healer.content_weights (at);

-- How often each format is to be chosen. effect_low and effect_high: what it earns over the average format, as a share
-- (0.1 is 10 % more), with a certainty of 90 %. No rows: nothing has been learned yet.
CREATE OR REPLACE VIEW healer.format_weights AS
SELECT w.key AS format, w.value::numeric AS weight,
       (f.value ->> 'low')::numeric AS effect_low, (f.value ->> 'high')::numeric AS effect_high,
       (f.value ->> 'posts')::bigint AS posts
  FROM healer.setting s
 CROSS JOIN LATERAL jsonb_each_text(CASE jsonb_typeof(s.value) WHEN 'object' THEN s.value ELSE '{}' END) w
  LEFT JOIN healer.setting n ON n.name = 'content.findings'
  LEFT JOIN LATERAL jsonb_each(n.value -> 'formats') f ON f.key = w.key
 WHERE s.name = 'content.formats';

-- How often each hour of the day is to be chosen, in the zone that stands beside it.
CREATE OR REPLACE VIEW healer.hour_weights AS
SELECT w.key::int AS hour, w.value::numeric AS weight,
       (f.value ->> 'low')::numeric AS effect_low, (f.value ->> 'high')::numeric AS effect_high,
       (f.value ->> 'posts')::bigint AS posts, n.value ->> 'zone' AS zone
  FROM healer.setting s
 CROSS JOIN LATERAL jsonb_each_text(CASE jsonb_typeof(s.value) WHEN 'object' THEN s.value ELSE '{}' END) w
  LEFT JOIN healer.setting n ON n.name = 'content.findings'
  LEFT JOIN LATERAL jsonb_each(n.value -> 'hours') f ON f.key = w.key
 WHERE s.name = 'content.hours';
CREATE INDEX IF NOT EXISTS action_weight_updates ON healer.action (applied_at) WHERE type = 'weight_update';
