-- Purpose: the twelve generators with their weights, and one earlier change of weights.
-- Parameters: none. Columns: none.

INSERT INTO public.generator_weights (generator_name, weight, last_updated, created_at)
SELECT name, weight, now() - interval '9 days', now() - interval '120 days'
FROM (VALUES ('humanVoice', 0.15), ('newsReporter', 0.12), ('storyteller', 0.12), ('interesting', 0.10),
             ('provocateur', 0.10), ('dataNerd', 0.10), ('mythBuster', 0.10), ('coach', 0.08),
             ('thoughtLeader', 0.05), ('contrarian', 0.04), ('explorer', 0.02), ('philosopher', 0.02)) AS twelve (name, weight);

INSERT INTO public.optimization_events
    (event_type, posts_analyzed, period_days, generators_updated, top_performer, top_performer_f_per_1k,
     bottom_performer, bottom_performer_f_per_1k, changes, execution_time_ms, success, created_at)
VALUES ('weight_update', 41, 7, 2, 'humanVoice', 1.2, 'philosopher', 0.1,
        '[{"generator": "humanVoice", "from": 0.14, "to": 0.15}, {"generator": "coach", "from": 0.09, "to": 0.08}]',
        812, true, now() - interval '9 days');
