-- Purpose: the smallest system that healer serves: three plain tables and no ledger.
-- Parameters: none. Columns: none.

CREATE TABLE public.content_metadata (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decision_id text NOT NULL UNIQUE,
    decision_type text,
    content text NOT NULL,
    thread_parts jsonb,
    status text DEFAULT 'queued',
    created_at timestamptz NOT NULL DEFAULT now(),
    posted_at timestamptz,
    scheduled_at timestamptz,
    tweet_id text,
    generator_name text,
    error_message text,
    features jsonb,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX content_metadata_status_idx ON public.content_metadata (status);
CREATE INDEX content_metadata_posted_idx ON public.content_metadata (status, posted_at DESC) WHERE status = 'posted';

CREATE TABLE public.job_heartbeats (
    job_name text PRIMARY KEY,
    last_success timestamptz,
    last_failure timestamptz,
    last_run_status text,
    last_error text,
    consecutive_failures int NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.system_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event_type text NOT NULL,
    event_data jsonb,
    severity text CHECK (severity IN ('info', 'warning', 'error', 'critical')),
    created_at timestamptz DEFAULT now()
);
CREATE INDEX system_events_type_idx ON public.system_events (event_type, created_at DESC);
CREATE INDEX system_events_created_idx ON public.system_events (created_at DESC);
