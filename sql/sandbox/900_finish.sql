-- Purpose: leaves dead rows that nobody clears away, as a table does whose autovacuum was switched off for a migration
--          and never on again; takes the scaffolding away. Where the server has pg_stat_statements, it is installed in a schema of its own, as hosted systems do.
-- Parameters: none. Columns: none.

ALTER TABLE public.content_generation_metadata_comprehensive SET (autovacuum_enabled = false);
UPDATE public.content_generation_metadata_comprehensive AS p
   SET reconciled_at = d.due + interval '1 hour'
  FROM sandbox.draft AS d
 WHERE p.decision_id = d.post::text AND d.status = 'posted' AND d.n <= 9000;

DROP FUNCTION sandbox.plant;
DROP TABLE sandbox.draft;
DROP FUNCTION sandbox.external_id;
DROP FUNCTION sandbox.one_of;
DROP FUNCTION sandbox.bell;
DROP FUNCTION sandbox.chance;

DO $$
BEGIN
    IF current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%'
       AND EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'pg_stat_statements') THEN
        CREATE SCHEMA extensions;
        CREATE EXTENSION pg_stat_statements SCHEMA extensions;
    END IF;
END $$;
