-- What the last analysis of errors found as a whole.
-- Parameters: none.
-- Columns: value, updated_at.
SELECT s.value, s.updated_at FROM healer.setting s WHERE s.name = 'error_analysis'
