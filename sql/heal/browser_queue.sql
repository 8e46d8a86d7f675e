-- What tells how many operations wait for the browser: signals, what an earlier run found, and events.
-- {browser_branches}: heal/browser_signals and heal/browser_events, as far as they can be read.
-- Parameters: none.
-- Columns: source (queue, op, run, future or event), kind, age_s, data.
SELECT f.source, f.kind, f.age_s, f.data
  FROM (
{browser_branches}
  ) f
