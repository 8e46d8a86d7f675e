-- Purpose: the words that the other files use: chance that is the same every time, and planting one post with what
--          the ledgers say of it. They are dropped at the end; only sandbox.expectation stays.
-- Parameters: none. Columns: none.

CREATE SCHEMA sandbox;

-- What a planted post should become. expected: queued, posted, held, id_filled, id_recovery, archived, listed
-- (reported but not changed) or untouched.
CREATE TABLE sandbox.expectation (
    decision_id text PRIMARY KEY,
    check_name text NOT NULL,
    expected text NOT NULL,
    external_id text,
    story text NOT NULL
);

-- Evenly spread in [0, 1): the same for the same row and salt. The hash is the one that places rows in hash partitions,
-- so it is the same on every server; md5 would be ten times slower.
CREATE FUNCTION sandbox.chance(n bigint, salt text) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$SELECT (hashint8extended(n, hashtextextended(salt, 0)) & 4503599627370495)::double precision / 4503599627370496$$;

-- Normally distributed, mean 0 and deviation 1 (Box-Muller; 1 - x keeps the logarithm finite).
CREATE FUNCTION sandbox.bell(n bigint, salt text) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$SELECT sqrt(-2 * ln(1 - sandbox.chance(n, salt || '-a'))) * cos(2 * pi() * sandbox.chance(n, salt || '-b'))$$;

-- One of a list.
CREATE FUNCTION sandbox.one_of(n bigint, salt text, words text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$SELECT words[1 + floor(sandbox.chance(n, salt) * array_length(words, 1))::int]$$;

-- The platform's ids: milliseconds since its epoch, and 22 bits that tell the ids of one millisecond apart.
CREATE FUNCTION sandbox.external_id(n bigint, salt text, at timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS
$$SELECT (((extract(epoch FROM at) * 1000)::bigint - 1288834974657) * 4194304
          + floor(sandbox.chance(n, salt) * 4194304)::bigint)::text$$;

-- Plants one post. Distances are counted back from now (negative ones lie ahead). The content says in words what the
-- post is. receipt: how many of the parts the receipt names. attempt: success, success_without_id, begun or failed.
CREATE FUNCTION sandbox.plant(
    check_name text,
    expected text,
    story text,
    status text,
    created interval,
    scheduled interval DEFAULT NULL,
    updated interval DEFAULT NULL,
    posted interval DEFAULT NULL,
    type text DEFAULT 'single',
    parts int DEFAULT 1,
    tweet_id text DEFAULT NULL,
    error text DEFAULT NULL,
    features jsonb DEFAULT '{}',
    receipt int DEFAULT 0,
    attempt text DEFAULT NULL,
    event boolean DEFAULT false
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    post uuid := md5('planted: ' || story)::uuid;
    number bigint := ('x' || substr(md5(story), 1, 7))::bit(28)::bigint;
    claimed timestamptz := now() - coalesce(posted + interval '4 minutes', updated, created);
    sent timestamptz := now() - coalesce(posted, greatest(updated - interval '4 minutes', interval '0'), created);
    ids text[] := ARRAY(SELECT sandbox.external_id(number + part, 'planted', sent + part * interval '2 seconds')
                        FROM generate_series(1, greatest(parts, 1)) AS part);
BEGIN
    INSERT INTO public.content_generation_metadata_comprehensive
        (decision_id, decision_type, content, thread_parts, status, created_at, posted_at, scheduled_at, tweet_id,
         generator_name, quality_score, predicted_er, topic_cluster, content_slot, generation_source, features,
         updated_at, hour_bucket, error_message, content_hash, target_tweet_id, target_username)
    VALUES
        (post::text, type, story,
         CASE WHEN parts > 1 THEN (SELECT jsonb_agg(story || ' (' || part || '/' || parts || ')')
                                   FROM generate_series(1, parts) AS part) END,
         status, now() - created, now() - posted, now() - coalesce(scheduled, created), plant.tweet_id,
         'storyteller', 0.8, 0.021, 'sleep', 'educational', 'real', features,
         now() - coalesce(updated, posted, created),
         extract(hour FROM now() - coalesce(scheduled, created))::int, error, md5(story),
         CASE WHEN type = 'reply' THEN sandbox.external_id(number, 'target', now() - created) END,
         CASE WHEN type = 'reply' THEN 'sleepscience' END);

    IF receipt > 0 THEN
        INSERT INTO public.post_receipts (receipt_id, decision_id, tweet_ids, root_tweet_id, post_type, posted_at, created_at)
        VALUES (md5('receipt ' || story)::uuid, post, ids[1:receipt], ids[1], type, sent, sent);
    END IF;
    IF attempt IS NOT NULL THEN
        INSERT INTO public.post_attempts
            (id, decision_id, status, actual_tweet_id, posting_success, error_message, created_at, approved_at, used_at,
             expires_at)
        VALUES
            (md5('attempt ' || story)::uuid, post::text,
             CASE attempt WHEN 'begun' THEN 'APPROVED' WHEN 'failed' THEN 'FAILED' ELSE 'USED' END,
             CASE attempt WHEN 'success' THEN ids[1] END,
             CASE attempt WHEN 'begun' THEN NULL ELSE attempt <> 'failed' END,
             CASE attempt WHEN 'failed' THEN coalesce(error, 'the composer did not open') END,
             claimed, claimed, CASE WHEN attempt <> 'begun' THEN sent END, claimed + interval '15 minutes');
    END IF;
    IF event THEN
        INSERT INTO public.system_events (id, event_type, event_data, severity, created_at, component)
        VALUES (md5('event ' || story)::uuid,
                CASE WHEN type = 'reply' THEN 'REPLY_SUCCESS' ELSE 'POST_SUCCESS' END,
                jsonb_build_object('decision_id', post, 'tweet_id', ids[1]), 'info', sent, 'postingQueue');
    END IF;
    INSERT INTO sandbox.expectation VALUES
        (post::text, check_name, expected,
         CASE WHEN expected IN ('posted', 'id_filled')
              THEN coalesce(CASE WHEN plant.tweet_id ~ '^[0-9]+$' THEN plant.tweet_id END, features->>'tweet_id_orphan', ids[1]) END,
         story);
    RETURN post::text;
END $$;
