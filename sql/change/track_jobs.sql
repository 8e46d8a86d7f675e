-- Puts healer.note_job_run behind the heartbeat table: every run is noted when it ends, not only what a pass finds.
-- Parameters: none.
-- Columns: none.
DROP TRIGGER IF EXISTS healer_job_run ON {heartbeats};
CREATE TRIGGER healer_job_run AFTER INSERT OR UPDATE ON {heartbeats}
  FOR EACH ROW EXECUTE FUNCTION healer.note_job_run()
