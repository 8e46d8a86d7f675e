-- Purpose: 20,000 posts over 30 days, one each 2.2 minutes, and 40 that wait for their time. For 55 minutes nothing has
--          been posted: those posts are ready and wait. Post n was planned,
--          claimed and sent at fixed distances from now. Between 26 and 24.7 hours ago most posts met a rate limit.
-- Parameters: none. Columns: none.

CREATE TABLE sandbox.draft AS
WITH numbered AS MATERIALIZED (
    SELECT n::bigint,
           -- The last ones lie in the future.
           now() - (20000 - n) * interval '129.6 seconds'
                 + (sandbox.chance(n, 'jitter') - 1) * interval '100 seconds' AS due,
           sandbox.chance(n, 'type') AS type_chance,
           sandbox.chance(n, 'status') AS status_chance,
           sandbox.chance(n, 'generator') AS generator_chance,
           sandbox.chance(n, 'duration') AS duration_chance,
           md5('post ' || n)::uuid AS post
    FROM generate_series(1, 20040) AS n
), typed AS MATERIALIZED (
    SELECT *,
           CASE WHEN type_chance < 0.50 THEN 'single' WHEN type_chance < 0.65 THEN 'thread' ELSE 'reply' END AS type,
           due > now() - interval '26 hours' AND due < now() - interval '24.7 hours' AS in_storm
    FROM numbered
), timed AS MATERIALIZED (
    SELECT *,
           CASE type WHEN 'thread' THEN 3 + floor(sandbox.chance(n, 'parts') * 4)::int ELSE 1 END AS parts,
           -- From claim to sent: 2 to 6 minutes, threads 4 to 12.
           CASE type WHEN 'thread' THEN interval '4 minutes' + duration_chance * interval '8 minutes'
                     ELSE interval '2 minutes' + duration_chance * interval '4 minutes' END AS takes,
           CASE WHEN due > now() - interval '55 minutes' THEN 'queued'
                WHEN in_storm AND status_chance < 0.60 THEN 'failed'
                WHEN status_chance < 0.012 AND due > now() - interval '6 days' THEN 'failed'
                WHEN status_chance < 0.012 THEN 'archived'
                WHEN status_chance < 0.030 THEN 'skipped'
                WHEN status_chance < 0.040 THEN 'cancelled'
                WHEN status_chance < 0.043 THEN 'failed_permanent'
                WHEN status_chance < 0.045 THEN 'blocked'
                ELSE 'posted' END AS status
    FROM typed
), worded AS MATERIALIZED (
    SELECT *,
           sandbox.one_of(n, 'opening', ARRAY['Most people get this wrong about', 'A small study on', 'What nobody says about',
                                              'The case against', 'Three numbers on', 'A doctor once told me about'])
           || ' ' || sandbox.one_of(n, 'topic', ARRAY['sleep', 'protein', 'zone 2 training', 'fasting', 'sunlight', 'creatine',
                                                     'gut health', 'cold exposure', 'walking', 'caffeine'])
           || ' (' || n || ')' AS text,
           CASE WHEN in_storm THEN 'HTTP 429: rate limit exceeded, retry after 900 s'
                ELSE sandbox.one_of(n, 'error', ARRAY['browser launch failed: out of memory',
                                                      'net::ERR_NAME_NOT_RESOLVED while opening the composer',
                                                      'login page shown: session expired',
                                                      'the composer did not open: selector not found']) END AS error
    FROM timed
)
SELECT *,
       due - takes AS claimed_at,
       due - takes - sandbox.chance(n, 'wait') * interval '3 minutes' AS scheduled_at,
       least(due - interval '30 minutes' - sandbox.chance(n, 'planned') * interval '6 hours',
             now() - interval '1 minute') AS planned_at,
       -- The ids the platform gave, one a part.
       CASE WHEN status <> 'posted' THEN NULL
            WHEN parts = 1 THEN ARRAY[sandbox.external_id(n, 'id 1', due)]
            ELSE ARRAY(SELECT sandbox.external_id(n, 'id ' || part, due + (part - 1) * interval '2 seconds')
                       FROM generate_series(1, parts) AS part ORDER BY part) END AS ids,
       CASE WHEN generator_chance < 0.15 THEN 'humanVoice' WHEN generator_chance < 0.27 THEN 'newsReporter'
            WHEN generator_chance < 0.39 THEN 'storyteller' WHEN generator_chance < 0.49 THEN 'interesting'
            WHEN generator_chance < 0.59 THEN 'provocateur' WHEN generator_chance < 0.69 THEN 'dataNerd'
            WHEN generator_chance < 0.79 THEN 'mythBuster' WHEN generator_chance < 0.87 THEN 'coach'
            WHEN generator_chance < 0.92 THEN 'thoughtLeader' WHEN generator_chance < 0.96 THEN 'contrarian'
            WHEN generator_chance < 0.98 THEN 'explorer' ELSE 'philosopher' END AS generator
FROM worded;

INSERT INTO public.content_generation_metadata_comprehensive
    (decision_id, decision_type, content, thread_parts, status, created_at, posted_at, scheduled_at, tweet_id,
     generator_name, quality_score, predicted_er, topic_cluster, target_tweet_id, target_username, visual_format,
     content_slot, experiment_group, hook_variant, generation_source, angle, tone, format_strategy, bandit_arm, features,
     updated_at, prompt_version, strategy_id, hour_bucket, error_message, skip_reason, hook_type, thread_tweet_ids,
     is_test_post, content_hash)
SELECT post::text, type, text,
       CASE WHEN type = 'thread' THEN (SELECT jsonb_agg(text || ' (' || part || '/' || parts || ')' ORDER BY part)
                                       FROM generate_series(1, parts) AS part) END,
       status, planned_at,
       CASE WHEN status = 'posted' THEN due END,
       scheduled_at,
       ids[1],
       generator, round((0.55 + 0.4 * sandbox.chance(n, 'quality'))::numeric, 4),
       round((0.01 + 0.03 * sandbox.chance(n, 'predicted'))::numeric, 5),
       sandbox.one_of(n, 'topic', ARRAY['sleep', 'protein', 'zone 2 training', 'fasting', 'sunlight', 'creatine', 'gut health',
                                        'cold exposure', 'walking', 'caffeine']),
       CASE WHEN type = 'reply' THEN sandbox.external_id(n, 'target', due - interval '2 hours') END,
       CASE WHEN type = 'reply' THEN sandbox.one_of(n, 'target', ARRAY['sleepscience', 'dr_longevity', 'gutcheck',
                                                                      'strengthlab', 'morninglight', 'labnotes']) END,
       sandbox.one_of(n, 'visual', ARRAY['plain', 'paragraph', 'bullets', 'bold_lead']),
       sandbox.one_of(n, 'slot', ARRAY['educational', 'myth_busting', 'research', 'story', 'framework']),
       sandbox.one_of(n, 'experiment', ARRAY['control', 'control', 'control', 'variant_a']),
       sandbox.one_of(n, 'hook', ARRAY['question', 'number', 'claim', 'scene']),
       'real',
       sandbox.one_of(n, 'angle', ARRAY['mechanism', 'history', 'practice', 'counterpoint']),
       sandbox.one_of(n, 'tone', ARRAY['calm', 'bold', 'curious', 'dry']),
       sandbox.one_of(n, 'format', ARRAY['hook_then_fact', 'list', 'story_arc']),
       sandbox.one_of(n, 'arm', ARRAY['arm_1', 'arm_2', 'arm_3']),
       CASE WHEN status IN ('failed', 'archived') THEN jsonb_build_object('retry_count', 3, 'last_error', error)
            ELSE jsonb_build_object('retry_count', 0) END,
       CASE WHEN status = 'queued' THEN planned_at ELSE least(due + interval '3 seconds', now()) END,
       'v4.2', 'balanced', extract(hour FROM scheduled_at AT TIME ZONE 'UTC')::int,
       CASE WHEN status IN ('failed', 'failed_permanent', 'archived') THEN error END,
       CASE WHEN status = 'skipped' THEN 'similar to a post of the last 14 days' END,
       sandbox.one_of(n, 'hook', ARRAY['question', 'number', 'claim', 'scene']),
       CASE WHEN type = 'thread' THEN to_jsonb(ids)::text END,
       n % 2500 = 17,
       md5(text)
FROM sandbox.draft
ORDER BY n;
