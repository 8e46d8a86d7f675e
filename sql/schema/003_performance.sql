-- What the pass that optimizes performance keeps: what it measured, sizes, indexes it has seen, and counters of queries.

-- What each run told (the JSON of its event) and the server's counters at that moment.
CREATE TABLE IF NOT EXISTS healer.performance_sample (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run_id bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  body jsonb NOT NULL,
  counters jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS performance_sample_at ON healer.performance_sample (at DESC);

-- How large the largest tables are: one row a table and run.
CREATE TABLE IF NOT EXISTS healer.size_sample (
  relation text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  table_bytes bigint NOT NULL,
  index_bytes bigint NOT NULL,
  row_estimate bigint,
  PRIMARY KEY (relation, at)
);

-- Since when an index has been known, and since when it has not been used: the server tells neither.
CREATE TABLE IF NOT EXISTS healer.index_sample (
  index_oid bigint PRIMARY KEY,
  relation text NOT NULL,
  scans bigint NOT NULL,
  first_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
  unused_since timestamptz,
  last_seen timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Counters of pg_stat_statements at the end of each run: the difference of two is what happened between them.
CREATE TABLE IF NOT EXISTS healer.query_sample (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  user_id bigint NOT NULL,
  query_id bigint NOT NULL,
  toplevel boolean NOT NULL DEFAULT true,
  calls bigint NOT NULL,
  total_ms double precision NOT NULL,
  rows bigint NOT NULL,
  -- What happened since the sample before: NULL where there was none.
  delta_calls bigint,
  delta_ms double precision,
  application text,
  query text
);
CREATE INDEX IF NOT EXISTS query_sample_at ON healer.query_sample (at DESC);
CREATE INDEX IF NOT EXISTS query_sample_query ON healer.query_sample (query_id, user_id, at DESC);

-- Whole rows of old events that were moved out of the event table, where that is switched on.
CREATE TABLE IF NOT EXISTS healer.archived_event (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  relation text NOT NULL,
  row_data jsonb NOT NULL,
  run_id bigint NOT NULL,
  archived_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
