-- When the posting circuit breaker opened and closed, as far as anybody told: only where its state changed.
-- {breaker_move_branches}: errors/breaker_moves_signals, errors/breaker_moves_events, as they exist.
-- Parameters: none.
-- Columns: at, open, words.
SELECT m.at, m.open, m.words
  FROM (SELECT s.at, s.open, s.words, lag(s.open) OVER (ORDER BY s.at, s.open) AS before FROM ({breaker_move_branches}) s) m
 WHERE m.open IS DISTINCT FROM m.before AND (m.open OR m.before IS NOT NULL)
 ORDER BY m.at DESC LIMIT 1000
