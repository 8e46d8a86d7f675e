-- What happened that an error may come from: deployments, changed settings, runs that healed.
-- {marker_branches}: errors/markers_events, errors/markers_healer, as they exist.
-- Parameters: none.
-- Columns: at, kind (deploy, setting, healing), title.
SELECT m.at, m.kind, m.title FROM ({marker_branches}) m ORDER BY m.at DESC LIMIT 1000
