-- Errors of the event table that have no time: they belong to no window, and are counted so that they are not lost.
-- Parameters: none.
-- Columns: errors (1001: more than 1,000).
SELECT count(*) AS errors
  FROM (SELECT FROM {events} r
         WHERE r.{events_at_column} IS NULL
           AND ({errors_severity} IN ('error', 'critical') OR r.event_type LIKE 'error\_%')
           AND r.event_type NOT IN ('self_healing_report', 'performance_optimization_report', 'autonomous_optimization',
                                    'error_analysis_complete', 'error_spike_alert')
         LIMIT 1001) w
