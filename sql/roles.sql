-- The least roles for healer. Run it as a superuser (or whoever owns the tables and may create roles), in the database
-- that healer works on, after `healer init`, and again after every later `healer init`: it is safe to repeat.
--
--   healer_look   report, doctor and every --dry-run: reads, and cannot write anything.
--   healer_heal   heal, analyze-errors, optimize content, undo and resolve as well: writes the columns that healer changes,
--                 and its own schema.
--   healer_optimize   optimize performance as well: all that healer_heal may, and what that pass notes. ANALYZE and all
--                 other maintenance need the owner of the tables, or from Postgres 17 on the privilege MAINTAIN: see the
--                 end of this file. Without it these remain proposals. The schedules run every pass: one URL for all of
--                 them is one with this role.
--
-- None may read the text of a post, delete a post, or create anything. `healer init` is run by the owner instead
-- (`healer init --print-sql` prints what it runs). Afterwards give each a password:
--   ALTER ROLE healer_optimize PASSWORD '...';
--
-- To change before you run it, where yours differ: the names in the list below, one line for each grant as
-- (who, table, privilege, columns). A table or column that you do not have is passed over. Who is `both`, `heal` or
-- `optimize`; no columns means the whole table.
--
-- BYPASSRLS: healer counts hidden rows as an error, never as "all is well". Where no table of the list has row-level
-- security, leave the ALTER ROLE out.
DO $roles$
DECLARE
  need record;
  who text;
  present text;
BEGIN
  FOREACH who IN ARRAY ARRAY['healer_look', 'healer_heal', 'healer_optimize'] LOOP
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = who) THEN
      EXECUTE format('CREATE ROLE %I LOGIN', who);
    END IF;
    EXECUTE format('ALTER ROLE %I BYPASSRLS', who);
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), who);
    EXECUTE format('GRANT USAGE ON SCHEMA public, healer TO %I', who);
  END LOOP;
  GRANT healer_heal TO healer_optimize;
  -- How full sequences are is told and foretold: their values are read, never taken.
  GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO healer_look, healer_heal;
  FOR need IN
    SELECT * FROM (VALUES
      -- The posts. What the view does not show is read from the table below it.
      ('both', 'public.content_metadata', 'SELECT', 'decision_id, decision_type, status, tweet_id, posted_at, scheduled_at, '
        'created_at, updated_at, posting_started_at, claimed_at, features, thread_parts, thread_tweet_ids, error_message, '
        'generator_name, is_test_post'),
      ('both', 'public.content_generation_metadata_comprehensive', 'SELECT', 'decision_id, thread_tweet_ids, error_message, is_test_post'),
      ('heal', 'public.content_metadata', 'UPDATE', 'status, tweet_id, posted_at, updated_at, error_message'),
      -- The ledgers.
      ('both', 'public.post_receipts', 'SELECT', 'decision_id, tweet_ids, root_tweet_id'),
      ('heal', 'public.post_receipts', 'SELECT', 'posted_at'),
      ('both', 'public.post_attempts', 'SELECT', 'decision_id, status, actual_tweet_id, posting_success, error_message, '
        'created_at, approved_at, used_at, expires_at'),
      ('both', 'public.posting_attempts', 'SELECT', 'decision_id, status, tweet_id, error_message, created_at'),
      ('both', 'public.posted_decisions', 'SELECT', 'decision_id, tweet_id'),
      ('heal', 'public.posted_decisions', 'SELECT', 'posted_at'),
      -- Events: successes and failures are read, reports are written.
      ('both', 'public.system_events', 'SELECT', 'event_type, event_data, metadata, created_at, severity, component, message'),
      ('heal', 'public.system_events', 'INSERT', 'event_type, event_data, metadata, severity, component, message'),
      -- The signs of life of the jobs are read, and healer's own line among them is written.
      ('both', 'public.job_heartbeats', 'SELECT', 'job_name, last_success, last_failure, last_run_status, last_error, '
        'consecutive_failures, updated_at, status, execution_time_ms, created_at, error_message'),
      ('heal', 'public.job_heartbeats', 'INSERT', 'job_name, last_success, last_failure, last_run_status, last_error, '
        'consecutive_failures, updated_at, status, execution_time_ms, created_at'),
      ('heal', 'public.job_heartbeats', 'UPDATE', 'last_success, last_failure, last_run_status, last_error, '
        'consecutive_failures, updated_at'),
      -- What posts earned, and the weights that follow from it.
      ('both', 'public.outcomes', 'SELECT', 'decision_id, simulated, impressions, likes, retweets, replies, '
        'followers_gained, followers_before, followers_after, collected_at'),
      ('both', 'public.generator_weights', 'SELECT', 'generator_name, weight, status, optimization_locked, last_updated'),
      ('heal', 'public.generator_weights', 'UPDATE', 'weight, status, last_updated'),
      ('heal', 'public.optimization_events', 'INSERT', 'event_type, posts_analyzed, period_days, generators_updated, '
        'top_performer, top_performer_f_per_1k, bottom_performer, bottom_performer_f_per_1k, changes, execution_time_ms, success'),
      -- healer's own tables. DELETE is for what has been kept for long enough.
      ('both', 'healer.run', 'SELECT', ''),
      ('both', 'healer.action', 'SELECT', ''),
      ('both', 'healer.lease', 'SELECT', ''),
      ('both', 'healer.id_recovery', 'SELECT', ''),
      ('both', 'healer.held_post', 'SELECT', ''),
      ('both', 'healer.archived_post', 'SELECT', ''),
      ('both', 'healer.signal', 'SELECT', ''),
      ('both', 'healer.setting', 'SELECT', ''),
      ('both', 'healer.request', 'SELECT', ''),
      ('both', 'healer.job_run', 'SELECT', ''),
      ('both', 'healer.outlook', 'SELECT', ''),
      ('both', 'healer.forecast', 'SELECT', ''),
      ('both', 'healer.resource_sample', 'SELECT', ''),
      ('both', 'healer.scaling_sample', 'SELECT', ''),
      ('both', 'healer.performance_sample', 'SELECT', ''),
      ('both', 'healer.size_sample', 'SELECT', ''),
      ('both', 'healer.index_sample', 'SELECT', ''),
      ('both', 'healer.query_sample', 'SELECT', ''),
      ('both', 'healer.error_pattern', 'SELECT', ''),
      ('both', 'healer.error_count', 'SELECT', ''),
      ('both', 'healer.content_weights', 'SELECT', ''),
      ('both', 'healer.archived_event', 'SELECT', ''),
      ('both', 'healer.alert', 'SELECT', ''),
      ('both', 'healer.alert_channel', 'SELECT', ''),
      ('heal', 'healer.run', 'INSERT, UPDATE, DELETE', ''),
      ('heal', 'healer.action', 'INSERT, UPDATE, DELETE', ''),
      ('heal', 'healer.lease', 'UPDATE', ''),
      ('heal', 'healer.id_recovery', 'INSERT, UPDATE, DELETE', ''),
      ('heal', 'healer.held_post', 'INSERT, UPDATE, DELETE', ''),
      ('heal', 'healer.signal', 'DELETE', ''),
      ('heal', 'healer.setting', 'INSERT, UPDATE', ''),
      ('heal', 'healer.request', 'DELETE', ''),
      ('heal', 'healer.resource_sample', 'INSERT, DELETE', ''),
      ('heal', 'healer.scaling_sample', 'INSERT, DELETE', ''),
      ('heal', 'healer.job_run', 'INSERT, DELETE', ''),
      -- What `optimize performance` notes.
      ('optimize', 'healer.outlook', 'INSERT, UPDATE, DELETE', ''),
      ('optimize', 'healer.forecast', 'INSERT, UPDATE, DELETE', ''),
      ('optimize', 'healer.performance_sample', 'INSERT, DELETE', ''),
      ('optimize', 'healer.size_sample', 'INSERT, DELETE', ''),
      ('optimize', 'healer.index_sample', 'INSERT, UPDATE, DELETE', ''),
      ('optimize', 'healer.query_sample', 'INSERT, DELETE', ''),
      ('heal', 'healer.error_pattern', 'INSERT, UPDATE, DELETE', ''),
      ('heal', 'healer.error_count', 'INSERT, UPDATE, DELETE', ''),
      ('heal', 'healer.content_weights', 'INSERT, DELETE', ''),
      ('heal', 'healer.alert', 'INSERT, UPDATE, DELETE', ''),
      ('heal', 'healer.alert_channel', 'INSERT, UPDATE', '')
      -- Only where healer may leave requests for the application:
      -- , ('heal', 'healer.request', 'INSERT', '')
      -- Only with optimize.performance.retention switched on: old events leave the event table.
      -- , ('optimize', 'public.system_events', 'SELECT, DELETE, UPDATE', '')
      -- , ('optimize', 'healer.archived_event', 'INSERT', '')
      -- Only with archive_to = "table": whole posts are moved, and come back by `healer undo`.
      -- , ('heal', 'public.content_metadata', 'SELECT, INSERT, DELETE', '')
      -- , ('heal', 'healer.archived_post', 'INSERT, DELETE', '')
    ) AS list (who, relation, privilege, columns)
  LOOP
    CONTINUE WHEN to_regclass(need.relation) IS NULL;
    SELECT string_agg(quote_ident(a.attname), ', ') INTO present
      FROM pg_attribute a
     WHERE a.attrelid = to_regclass(need.relation) AND a.attnum > 0 AND NOT a.attisdropped
       AND a.attname = ANY (string_to_array(need.columns, ', '));
    CONTINUE WHEN need.columns <> '' AND present IS NULL;
    FOREACH who IN ARRAY CASE need.who WHEN 'both' THEN ARRAY['healer_look', 'healer_heal'] WHEN 'optimize' THEN ARRAY['healer_optimize'] ELSE ARRAY['healer_heal'] END LOOP
      EXECUTE format('GRANT %s %s ON %s TO %I', need.privilege,
                     CASE WHEN need.columns = '' THEN '' ELSE '(' || present || ')' END, to_regclass(need.relation), who);
    END LOOP;
  END LOOP;
END
$roles$;
-- For the maintenance of `healer optimize performance`, one of these; without it, it only proposes:
--   GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO healer_optimize;   -- from Postgres 17 on
--   GRANT the_owner_of_the_tables TO healer_optimize;                  -- before: this role may then do all the owner may
-- To see what other roles' sessions and queries do (queries, their jobs, statistics of columns):
--   GRANT pg_read_all_stats TO healer_optimize;
