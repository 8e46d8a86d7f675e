-- Purpose: the tables of the posting system, as its public sources describe them.
-- Parameters: none. Columns: none (it creates relations in the schema public).

CREATE TABLE public.content_generation_metadata_comprehensive (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decision_id text NOT NULL UNIQUE,
    decision_type text DEFAULT 'single',
    content text NOT NULL,
    thread_parts jsonb,
    status text DEFAULT 'queued',
    created_at timestamptz NOT NULL DEFAULT now(),
    posted_at timestamptz,
    scheduled_at timestamptz,
    tweet_id text,
    generator_name text,
    quality_score numeric(5,4),
    predicted_er numeric(7,5),
    topic_cluster text,
    target_tweet_id text,
    target_username text,
    visual_format text,
    content_slot text,
    experiment_group text,
    hook_variant text,
    generation_source text,
    angle text,
    tone text,
    format_strategy text,
    bandit_arm text,
    features jsonb,
    updated_at timestamptz NOT NULL DEFAULT now(),
    prompt_version text,
    strategy_id text,
    hour_bucket int,
    outcome_score numeric,
    error_message text,
    skip_reason text,
    hook_type text,
    thread_tweet_ids text,
    is_test_post boolean NOT NULL DEFAULT false,
    content_hash text,
    reconciled_at timestamptz
);
CREATE INDEX content_generation_metadata_comprehensive_status_idx
    ON public.content_generation_metadata_comprehensive (status);
CREATE INDEX content_generation_metadata_comprehensive_posted_idx
    ON public.content_generation_metadata_comprehensive (status, posted_at DESC) WHERE status = 'posted';
CREATE INDEX content_generation_metadata_comprehensive_tweet_idx
    ON public.content_generation_metadata_comprehensive (tweet_id) WHERE status = 'posted';
CREATE INDEX content_generation_metadata_comprehensive_scheduled_idx
    ON public.content_generation_metadata_comprehensive (scheduled_at) WHERE status = 'queued';

CREATE VIEW public.content_metadata AS
SELECT decision_id, decision_type, content, thread_parts, status, created_at, posted_at, scheduled_at, tweet_id,
       generator_name, quality_score, predicted_er, topic_cluster, target_tweet_id, target_username, visual_format,
       content_slot, experiment_group, hook_variant, generation_source, angle, tone, format_strategy, bandit_arm,
       features, updated_at, prompt_version, strategy_id, hour_bucket, outcome_score
FROM public.content_generation_metadata_comprehensive;

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
    created_at timestamptz DEFAULT now(),
    component text,
    message text
);
CREATE INDEX system_events_type_idx ON public.system_events (event_type, created_at DESC);
CREATE INDEX system_events_severity_idx ON public.system_events (severity, created_at DESC);
CREATE INDEX system_events_created_idx ON public.system_events (created_at DESC);

CREATE TABLE public.outcomes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decision_id text NOT NULL UNIQUE,
    tweet_id text,
    simulated boolean DEFAULT false,
    impressions int,
    likes int,
    retweets int,
    replies int,
    bookmarks int,
    quotes int,
    views int,
    followers_gained int DEFAULT 0,
    followers_before int,
    followers_after int,
    collected_at timestamptz,
    created_at timestamptz DEFAULT now()
);
CREATE INDEX outcomes_collected_idx ON public.outcomes (collected_at DESC);

CREATE TABLE public.generator_weights (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    generator_name text NOT NULL UNIQUE,
    weight numeric(5,4) NOT NULL CHECK (weight >= 0.01 AND weight <= 1),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'testing', 'disabled', 'archived')),
    optimization_locked boolean NOT NULL DEFAULT false,
    notes text,
    last_updated timestamptz NOT NULL DEFAULT now(),
    posts_generated int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.optimization_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_type text NOT NULL CHECK (event_type IN ('weight_update', 'generator_disabled', 'generator_enabled',
                                                   'viral_boost', 'failure_detected', 'manual_override')),
    posts_analyzed int,
    period_days int,
    generators_updated int,
    top_performer text,
    top_performer_f_per_1k numeric(8,4),
    bottom_performer text,
    bottom_performer_f_per_1k numeric(8,4),
    changes jsonb,
    execution_time_ms int,
    success boolean DEFAULT true,
    error_message text,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.post_receipts (
    receipt_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    decision_id uuid,
    tweet_ids text[] NOT NULL,
    root_tweet_id text NOT NULL,
    post_type text NOT NULL,
    posted_at timestamptz NOT NULL DEFAULT now(),
    reconciled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX post_receipts_decision_idx ON public.post_receipts (decision_id);
CREATE INDEX post_receipts_root_idx ON public.post_receipts (root_tweet_id);
ALTER TABLE public.post_receipts ENABLE ROW LEVEL SECURITY;

CREATE TABLE public.post_attempts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    decision_id text NOT NULL,
    status text NOT NULL DEFAULT 'PENDING',
    actual_tweet_id text,
    posting_success boolean,
    error_message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    approved_at timestamptz,
    used_at timestamptz,
    expires_at timestamptz
);
CREATE INDEX post_attempts_decision_idx ON public.post_attempts (decision_id);
CREATE INDEX post_attempts_created_idx ON public.post_attempts (created_at DESC);

CREATE TABLE public.posting_attempts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    decision_id text NOT NULL,
    tweet_id text,
    status text NOT NULL CHECK (status IN ('attempting', 'success', 'failed')),
    error_message text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX posting_attempts_decision_idx ON public.posting_attempts (decision_id);

CREATE VIEW public.posted_decisions AS
SELECT decision_id, tweet_id, content, decision_type, posted_at
FROM public.content_generation_metadata_comprehensive
WHERE status = 'posted' AND tweet_id IS NOT NULL;
