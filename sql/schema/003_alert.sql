-- Alerts: what a person should hear of, from its first sight to its end, and what each channel was told of it.
CREATE TABLE IF NOT EXISTS healer.alert (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  fingerprint text NOT NULL,
  pass text NOT NULL,
  key text NOT NULL,
  check_name text,
  severity text NOT NULL,
  title text NOT NULL,
  detail text NOT NULL,
  next_step text NOT NULL,
  run_id bigint,
  opened_at timestamptz NOT NULL,
  last_seen timestamptz NOT NULL,
  times bigint NOT NULL DEFAULT 1,
  last_sent timestamptz,
  reminders integer NOT NULL DEFAULT 0,
  resolved_at timestamptz,
  -- For each channel: at, severity, reminders, owed, resolved.
  channels jsonb NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX IF NOT EXISTS alert_open ON healer.alert (pass, key) WHERE resolved_at IS NULL;
CREATE INDEX IF NOT EXISTS alert_resolved ON healer.alert (resolved_at) WHERE resolved_at IS NOT NULL;

-- How each channel did when it was last used.
CREATE TABLE IF NOT EXISTS healer.alert_channel (
  name text PRIMARY KEY,
  last_success timestamptz,
  failing_since timestamptz,
  failures bigint NOT NULL DEFAULT 0,
  last_error text,
  not_before timestamptz,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
