-- healer schema, version 3: patterns of errors. Run by `healer init`, in one transaction; safe to repeat.

-- One row for each pattern. It is recognised by any of its fingerprints; its key is the smallest of them.
CREATE TABLE IF NOT EXISTS healer.error_pattern (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key text NOT NULL,
  -- Of masking and grouping: a row of an older version is recognised by its example.
  version integer NOT NULL,
  -- component:error_type, as dashboards know it.
  error_key text NOT NULL,
  severity text NOT NULL,
  component text,
  class text,
  sqlstate text,
  http_status integer,
  template text NOT NULL,
  -- Without secrets and personal data.
  example text NOT NULL,
  fingerprints jsonb NOT NULL,
  first_seen timestamptz NOT NULL,
  last_seen timestamptz NOT NULL,
  standing text NOT NULL,
  -- What the last analysis said of it: trend, bursts, cause, recovery, what was affected, what happened before.
  view jsonb NOT NULL,
  run_id bigint,
  analysed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX IF NOT EXISTS error_pattern_key ON healer.error_pattern (key);
CREATE INDEX IF NOT EXISTS error_pattern_seen ON healer.error_pattern (last_seen);

-- How often, by the hour. A count is never added to: an analysis of the same time says the same again.
CREATE TABLE IF NOT EXISTS healer.error_count (
  pattern bigint NOT NULL,
  hour timestamptz NOT NULL,
  errors bigint NOT NULL,
  PRIMARY KEY (pattern, hour)
);
CREATE INDEX IF NOT EXISTS error_count_hour ON healer.error_count (hour);
