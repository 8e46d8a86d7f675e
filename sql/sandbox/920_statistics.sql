-- Purpose: the planner knows the tables as they are.
-- Parameters: none. Columns: none.

ANALYZE public.content_generation_metadata_comprehensive, public.job_heartbeats, public.system_events, public.outcomes,
        public.generator_weights, public.optimization_events, public.post_receipts, public.post_attempts,
        public.posting_attempts, sandbox.expectation;
