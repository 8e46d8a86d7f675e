-- healer schema, version 3: how many workers and browser slots are wished for.

-- One row for each look of a pass.
CREATE TABLE IF NOT EXISTS healer.scaling_sample (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL,
  -- What was seen; NULL for what could not be measured.
  waiting bigint,
  arrivals_per_hour double precision,
  service_s double precision,
  browser_waiting bigint,
  browser_ops_per_hour double precision,
  browser_held_s double precision,
  -- What that calls for just now, and what is wished for, with hysteresis.
  workers_needed double precision,
  slots_needed double precision,
  workers integer,
  slots integer,
  reason text NOT NULL
);
CREATE INDEX IF NOT EXISTS scaling_sample_at ON healer.scaling_sample (at DESC);

-- What an autoscaler reads. No row where no pass has looked for an hour: it then keeps to its own fallback.
CREATE OR REPLACE VIEW healer.scaling AS
SELECT s.workers, s.slots, s.waiting, s.arrivals_per_hour, s.service_s, s.workers_needed, s.browser_waiting,
       s.browser_ops_per_hour, s.browser_held_s, s.slots_needed, s.reason, s.at
  FROM (SELECT * FROM healer.scaling_sample ORDER BY at DESC, id DESC LIMIT 1) s
 WHERE s.at > now() - interval '1 hour' AND s.at <= now() + interval '1 minute';
