-- What tells whether the circuit breaker is open: the latest signal of each breaker, and the events of the last hours.
-- {breaker_branches}: heal/breaker_signals and heal/breaker_events, as far as they can be read.
-- Parameters: none.
-- Columns: source (signal or event), kind (name of the breaker, or event type), age_s, data.
SELECT f.source, f.kind, f.age_s, f.data
  FROM (
{breaker_branches}
  ) f
