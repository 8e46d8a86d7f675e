-- healer schema, version 2: signals of the browser, runs of the system's jobs, and what healer asks of the application.
-- Run by `healer init`, in one transaction; safe to repeat.

-- What only the application can do: healer asks, the application reads, acts if it agrees, and says so.
CREATE TABLE IF NOT EXISTS healer.request (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL,
  target text NOT NULL,
  reason text NOT NULL,
  run_id bigint,
  requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- A request that nobody took by then is void: what it was about has changed.
  expires_at timestamptz NOT NULL,
  taken_at timestamptz
);
CREATE INDEX IF NOT EXISTS request_open ON healer.request (kind, expires_at) WHERE taken_at IS NULL;

-- Runs of the system's jobs, as far as the heartbeats told: by a pass, or exactly by the trigger.
CREATE TABLE IF NOT EXISTS healer.job_run (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job text NOT NULL,
  status text NOT NULL,
  at timestamptz NOT NULL,
  duration_ms bigint,
  error text,
  source text NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS job_run_once ON healer.job_run (job, at, status);
CREATE INDEX IF NOT EXISTS job_run_at ON healer.job_run (at);

INSERT INTO healer.lease (pass, token, holder, acquired_at, expires_at)
SELECT w.pass, '', '', '-infinity', '-infinity'
  FROM unnest(ARRAY['optimize-performance', 'optimize-content', 'analyze-errors']) AS w (pass)
ON CONFLICT (pass) DO NOTHING;

-- The functions that the application calls run with the rights of their owner: its role needs USAGE on the schema and
-- nothing else. What they are given is stored as it is; healer judges it when it reads it.
CREATE OR REPLACE FUNCTION healer.report_browser(queued int, active int, capacity int)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  INSERT INTO healer.signal (name, data)
  VALUES ('browser', jsonb_build_object('queued', $1, 'active', $2, 'capacity', $3));
$$;

-- ok is NULL while the operation holds the browser.
CREATE OR REPLACE FUNCTION healer.report_browser_op(operation text, waited_ms int, held_ms int, ok boolean)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  INSERT INTO healer.signal (name, data)
  VALUES ('browser_op', jsonb_build_object('operation', left($1, 200), 'waited_ms', $2, 'held_ms', $3, 'ok', $4));
$$;

CREATE OR REPLACE FUNCTION healer.report_breaker(name text, is_open boolean, failures int)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  INSERT INTO healer.signal (name, data)
  VALUES ('breaker', jsonb_build_object('name', left($1, 200), 'open', $2, 'failures', $3));
$$;

CREATE OR REPLACE FUNCTION healer.resolve_id(post text, external_id text, resolved_by text)
RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  WITH closed AS (
    UPDATE healer.id_recovery r
       SET resolved_at = clock_timestamp(), external_id = $2, resolved_by = $3
     WHERE r.post = $1 AND r.resolved_at IS NULL
    RETURNING 1)
  SELECT EXISTS (SELECT 1 FROM closed);
$$;

-- Hands out the requests of one kind that are still in force, each once.
CREATE OR REPLACE FUNCTION healer.take_requests(kind text)
RETURNS TABLE (id bigint, target text, reason text, requested_at timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  UPDATE healer.request r
     SET taken_at = clock_timestamp()
   WHERE r.kind = $1 AND r.taken_at IS NULL AND r.expires_at > clock_timestamp()
  RETURNING r.id, r.target, r.reason, r.requested_at;
$$;

-- What `healer init --track-jobs` puts behind a trigger of the heartbeat table. It never fails the job's own write.
CREATE OR REPLACE FUNCTION healer.note_job_run()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET timezone = 'UTC' AS $$
DECLARE
  new_row jsonb := to_jsonb(NEW);
  old_row jsonb := CASE WHEN TG_OP = 'UPDATE' THEN to_jsonb(OLD) END;
  word text := lower(new_row ->> 'last_run_status');
  ended timestamptz;
BEGIN
  ended := CASE WHEN word = 'success' THEN (new_row ->> 'last_success')::timestamptz
                WHEN word IN ('failure', 'failed', 'error') THEN (new_row ->> 'last_failure')::timestamptz END;
  ended := coalesce(ended, (new_row ->> 'updated_at')::timestamptz);
  IF word <> 'running' AND ended IS NOT NULL
     AND new_row ->> 'job_name' NOT IN ('self_healing', 'performance_optimizer', 'autonomous_optimizer', 'error_analysis') THEN
    INSERT INTO healer.job_run (job, status, at, duration_ms, error, source)
    VALUES (new_row ->> 'job_name', CASE WHEN word IN ('failed', 'error') THEN 'failure' ELSE word END, ended,
            CASE WHEN old_row ->> 'last_run_status' = 'running'
                 THEN (extract(epoch FROM ended - (old_row ->> 'updated_at')::timestamptz) * 1000)::bigint END,
            CASE WHEN word <> 'success' THEN left(new_row ->> 'last_error', 500) END, 'trigger')
    ON CONFLICT (job, at, status) DO NOTHING;
  END IF;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END;
$$;

COMMENT ON SCHEMA healer IS 'healer schema 2';
