-- healer schema, version 3: what is foretold of jobs and resources, and what became of it.

-- The newest word on each job and resource, whole: what `report forecast` shows.
CREATE TABLE IF NOT EXISTS healer.outlook (
  kind text NOT NULL,
  subject text NOT NULL,
  told jsonb NOT NULL,
  made_at timestamptz NOT NULL,
  run_id bigint NOT NULL,
  PRIMARY KEY (kind, subject)
);

-- One row for each checkable claim of a forecast. `probability` (with the plain frequency beside it) or `low` to `high`.
-- `came` is NULL with `settled_at` set where it can no longer be told.
CREATE TABLE IF NOT EXISTS healer.forecast (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id bigint NOT NULL,
  kind text NOT NULL,
  subject text NOT NULL,
  claim text NOT NULL,
  made_at timestamptz NOT NULL,
  due_at timestamptz,
  probability double precision,
  baseline double precision,
  low double precision,
  high double precision,
  limit_value double precision NOT NULL,
  model integer,
  settled_at timestamptz,
  came boolean
);
-- One claim of a kind is open at a time: twelve passes before one run of a daily job do not count twelve times.
CREATE UNIQUE INDEX IF NOT EXISTS forecast_open ON healer.forecast (kind, subject, claim) WHERE settled_at IS NULL;
CREATE INDEX IF NOT EXISTS forecast_settled ON healer.forecast (settled_at);

-- How full each resource was. `most` is its limit at that time; NULL where there is none.
CREATE TABLE IF NOT EXISTS healer.resource_sample (
  resource text NOT NULL,
  at timestamptz NOT NULL,
  value double precision NOT NULL,
  most double precision,
  PRIMARY KEY (resource, at)
);
CREATE INDEX IF NOT EXISTS resource_sample_at ON healer.resource_sample (at);
