-- Purpose: faults of the database, each with an innocent neighbour: an index twice (beside one with another predicate), an
--          index that a failed build left invalid (beside a valid one), statistics that a mass change made stale (beside
--          a table that changed a little).
-- Parameters: none. Columns: none.

-- The same as outcomes_collected_idx, by another name. The neighbour holds fewer rows.
CREATE INDEX outcomes_collected_again ON public.outcomes (collected_at DESC);
CREATE INDEX outcomes_simulated_collected_idx ON public.outcomes (collected_at DESC) WHERE simulated;

-- As CREATE INDEX CONCURRENTLY leaves it behind when it fails.
CREATE INDEX optimization_events_type_idx ON public.optimization_events (event_type, created_at DESC);
UPDATE pg_catalog.pg_index SET indisvalid = false WHERE indexrelid = 'public.optimization_events_type_idx'::regclass;

-- Nobody has looked at post_attempts since its expiry times were moved: autovacuum is off for it.
ALTER TABLE public.post_attempts SET (autovacuum_enabled = false);
UPDATE public.post_attempts SET expires_at = expires_at + interval '1 minute' WHERE expires_at IS NOT NULL;
UPDATE public.post_receipts SET reconciled_at = posted_at WHERE post_type = 'thread' AND substr(receipt_id::text, 1, 1) = '0';
