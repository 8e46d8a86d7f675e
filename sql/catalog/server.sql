-- What the server is, what it allows this role, and what stands in the schema healer.
-- Parameters: $1 text[] words of the configuration, to be quoted by the server.
-- Columns: one row.
SELECT current_setting('server_version_num')::bigint AS version,
       current_setting('server_version') AS version_text,
       pg_is_in_recovery() AS standby,
       current_setting('default_transaction_read_only') = 'on' AS default_read_only,
       clock_timestamp() AS now,
       current_user::text AS role,
       current_database()::text AS database,
       limits.statement_ms AS role_statement_timeout_ms,
       limits.lock_ms AS role_lock_timeout_ms,
       current_setting('server_encoding') AS encoding,
       (SELECT n.oid IS NOT NULL FROM (SELECT to_regnamespace('healer') AS oid) n) AS has_schema,
       (SELECT obj_description(to_regnamespace('healer')::oid, 'pg_namespace')) AS schema_note,
       coalesce(has_schema_privilege(to_regnamespace('healer')::oid, 'USAGE'), false) AS schema_usage,
       -- One privilege at a time: of several, has_table_privilege is content with any.
       coalesce((SELECT bool_and(coalesce(has_table_privilege(c.oid, p.privilege), false))
                   FROM (VALUES ('run', 'INSERT,UPDATE,DELETE'), ('action', 'INSERT,UPDATE,DELETE'), ('lease', 'UPDATE'),
                                ('id_recovery', 'INSERT,UPDATE,DELETE'), ('held_post', 'INSERT,UPDATE,DELETE'),
                                ('signal', 'DELETE'), ('setting', 'INSERT,UPDATE'), ('request', 'DELETE'),
                                ('job_run', 'INSERT,DELETE'), ('resource_sample', 'INSERT,DELETE'),
                                ('scaling_sample', 'INSERT,DELETE')) AS t (name, privileges)
                  CROSS JOIN LATERAL unnest(string_to_array(t.privileges, ',')) AS p (privilege)
                   LEFT JOIN pg_class c ON c.relname = t.name AND c.relnamespace = to_regnamespace('healer')::oid), false)
         AND coalesce((SELECT bool_and(has_table_privilege(c.oid, 'SELECT'))
                         FROM pg_class c
                        WHERE c.relnamespace = to_regnamespace('healer')::oid AND c.relkind = 'r'), false) AS schema_write,
       coalesce((SELECT bool_and(has_table_privilege(c.oid, 'SELECT'))
                   FROM pg_class c
                  WHERE c.relnamespace = to_regnamespace('healer')::oid AND c.relkind = 'r'), false) AS schema_read,
       has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
       (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) AS bypass_rls,
       (SELECT coalesce(jsonb_object_agg(w.word, quote_literal(w.word)), '{}') FROM unnest($1::text[]) AS w (word)) AS quoted
  -- One look: the view is made of all settings each time.
  FROM (SELECT max(s.reset_val::bigint) FILTER (WHERE s.name = 'statement_timeout') AS statement_ms,
               max(s.reset_val::bigint) FILTER (WHERE s.name = 'lock_timeout') AS lock_ms
          FROM pg_settings s WHERE s.name IN ('statement_timeout', 'lock_timeout')) limits
