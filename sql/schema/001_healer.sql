-- healer schema, version 1. Run by `healer init`, in one transaction; safe to repeat.
CREATE SCHEMA IF NOT EXISTS healer;

-- One row for each recorded pass.
CREATE TABLE IF NOT EXISTS healer.run (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  pass text NOT NULL,
  command text NOT NULL,
  version text NOT NULL,
  host text,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  status text NOT NULL DEFAULT 'running',
  exit_code integer,
  max_actions bigint,
  brake boolean NOT NULL DEFAULT false,
  undoes bigint,
  counts jsonb,
  checks jsonb,
  error text
);
CREATE INDEX IF NOT EXISTS run_pass_started ON healer.run (pass, started_at DESC);

-- The journal: one row for each change of a post, in the transaction of the change.
CREATE TABLE IF NOT EXISTS healer.action (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id bigint NOT NULL,
  check_name text NOT NULL,
  type text NOT NULL,
  action text NOT NULL,
  relation text NOT NULL,
  target text NOT NULL,
  before jsonb,
  after jsonb,
  reason text NOT NULL,
  evidence jsonb,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  undone_at timestamptz,
  undone_by bigint
);
CREATE INDEX IF NOT EXISTS action_run ON healer.action (run_id, id);
CREATE INDEX IF NOT EXISTS action_target ON healer.action (target, applied_at);
CREATE INDEX IF NOT EXISTS action_applied ON healer.action (applied_at);

-- One row for each pass that is at work.
CREATE TABLE IF NOT EXISTS healer.lease (
  pass text PRIMARY KEY,
  token text NOT NULL,
  holder text NOT NULL,
  acquired_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
);

INSERT INTO healer.lease (pass, token, holder, acquired_at, expires_at)
SELECT w.pass, '', '', '-infinity', '-infinity' FROM unnest(ARRAY['heal']) AS w (pass)
ON CONFLICT (pass) DO NOTHING;

-- Posted posts whose external id is not known: the application's own recovery job reads and closes them.
CREATE TABLE IF NOT EXISTS healer.id_recovery (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  post text NOT NULL,
  first_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
  external_id text,
  resolved_at timestamptz,
  resolved_by text
);
CREATE UNIQUE INDEX IF NOT EXISTS id_recovery_open ON healer.id_recovery (post) WHERE resolved_at IS NULL;
CREATE INDEX IF NOT EXISTS id_recovery_post ON healer.id_recovery (post);

-- Posts left alone until a person decides, or until the reason has gone.
CREATE TABLE IF NOT EXISTS healer.held_post (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  post text NOT NULL,
  check_name text NOT NULL,
  status text,
  code text NOT NULL,
  reason text NOT NULL,
  evidence jsonb,
  run_id bigint,
  held_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  resolved_at timestamptz,
  resolution text,
  resolved_by text
);
CREATE UNIQUE INDEX IF NOT EXISTS held_post_open ON healer.held_post (post) WHERE resolved_at IS NULL;
CREATE INDEX IF NOT EXISTS held_post_post ON healer.held_post (post);

-- Whole rows of posts that were moved out of a table that does not know the status `archived`.
CREATE TABLE IF NOT EXISTS healer.archived_post (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  post text NOT NULL,
  relation text NOT NULL,
  row_data jsonb NOT NULL,
  run_id bigint NOT NULL,
  archived_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS archived_post_post ON healer.archived_post (post);

-- What only the application knows, as last reported.
CREATE TABLE IF NOT EXISTS healer.signal (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  data jsonb NOT NULL,
  reported_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS signal_name ON healer.signal (name, reported_at DESC);

-- Settings that healer keeps for itself.
CREATE TABLE IF NOT EXISTS healer.setting (
  name text PRIMARY KEY,
  value jsonb NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The application reports that its circuit breaker opened or closed.
CREATE OR REPLACE FUNCTION healer.report_breaker(name text, is_open boolean, failures int)
RETURNS void LANGUAGE sql SET search_path = pg_catalog AS $$
  INSERT INTO healer.signal (name, data)
  VALUES ('breaker', jsonb_build_object('name', $1, 'open', $2, 'failures', $3));
$$;

-- The application's recovery job closes an entry of healer.id_recovery.
CREATE OR REPLACE FUNCTION healer.resolve_id(post text, external_id text, resolved_by text)
RETURNS boolean LANGUAGE sql SET search_path = pg_catalog AS $$
  WITH closed AS (
    UPDATE healer.id_recovery r
       SET resolved_at = clock_timestamp(), external_id = $2, resolved_by = $3
     WHERE r.post = $1 AND r.resolved_at IS NULL
    RETURNING 1)
  SELECT EXISTS (SELECT 1 FROM closed);
$$;

COMMENT ON SCHEMA healer IS 'healer schema 1';
