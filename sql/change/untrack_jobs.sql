-- Takes the trigger of change/track_jobs away again; what it noted stays.
-- Parameters: none.
-- Columns: none.
DROP TRIGGER IF EXISTS healer_job_run ON {heartbeats}
