-- Errors of the event table, in the order of time: of severity error or critical, or with a failing name. Reports and
-- alerts are none, whatever their severity and name, and what healer itself writes is none.
-- {errors_document}: the JSON of an event, made fit to be read; {errors_severity}, {errors_component}, {errors_message}:
--   the columns of the table, where it has them. {errors_since}, {errors_until}: the time that is read.
-- Parameters: none (it stands behind a cursor).
-- Columns: at, kind, severity, component, class, message, post, job, sqlstate, http, recovered, recovery_ms, post_found,
--   posted (of the post: whether it was posted, NULL where it is not known), posted_at.
SELECT e.at, left(e.kind, 200) AS kind, coalesce(e.severity, e.doc ->> 'severity') AS severity,
       left(coalesce(nullif(e.doc ->> 'component', ''), e.component), 200) AS component,
       left(coalesce(nullif(e.doc ->> 'error_type', ''),
                     CASE WHEN e.kind LIKE 'error\_%' THEN substr(e.kind, 7) ELSE e.kind END), 200) AS class,
       left(coalesce(nullif(e.doc ->> 'error_message', ''), nullif(e.doc ->> 'error', ''), nullif(e.doc ->> 'message', ''),
                     nullif(e.message, ''), nullif(e.doc ->> 'reason', ''), nullif(e.doc::text, '{}'), ''), 16384) AS message,
       e.post, left(coalesce(e.doc ->> 'job', e.doc ->> 'job_name', e.doc -> 'context' ->> 'job_name'), 200) AS job,
       left(e.doc ->> 'sqlstate', 10) AS sqlstate, left(coalesce(e.doc ->> 'http_status', e.doc ->> 'status_code'), 10) AS http,
       e.doc ->> 'recovered' AS recovered, left(e.doc ->> 'recovery_time_ms', 30) AS recovery_ms,
       p.posted IS NOT NULL AS post_found, p.posted, p.posted_at
  FROM (SELECT d.*, left(coalesce(d.doc ->> 'decision_id', d.doc ->> 'decisionId', d.doc ->> 'post_id', d.doc -> 'context' ->> 'decision_id',
                                  d.doc -> 'context' ->> 'decisionId', d.doc -> 'metadata' ->> 'decision_id'), 200) AS post
          FROM (
        SELECT r.{events_at_column} AS place, {events_at} AS at, r.event_type::text AS kind,
               {errors_severity} AS severity, {errors_component} AS component, {errors_message} AS message,
               {errors_document} AS doc
          FROM {events} r
         WHERE r.{events_at_column} > {errors_events_since} AND r.{events_at_column} <= {errors_events_until}
           AND ({errors_severity} IN ('error', 'critical') OR r.event_type LIKE 'error\_%' OR r.event_type ILIKE '%\_failed'
                OR r.event_type LIKE '%\_consecutive\_failures' OR r.event_type LIKE 'critical\_%'
                OR r.event_type LIKE 'circuit\_breaker\_%' OR r.event_type LIKE 'EXECUTOR\_RATE\_LIMIT\_%'
                OR r.event_type = 'POSTING_QUEUE_BLOCKED')
           AND r.event_type NOT IN ('self_healing_report', 'performance_optimization_report', 'autonomous_optimization',
                                    'error_analysis_complete', 'error_spike_alert')
           AND r.event_type NOT LIKE 'healer\_%' AND {errors_component} IS DISTINCT FROM 'healer'
         ORDER BY r.{events_at_column} OFFSET 0) d
         -- Both OFFSETs keep what is read of a document from being read again wherever it is used.
         OFFSET 0) e
  LEFT JOIN LATERAL (
   SELECT coalesce({errors_posted}, false) AS posted, {posted_at} AS posted_at
     FROM {posts} p WHERE p.{id} = {errors_post_match} LIMIT 1) p ON e.post IS NOT NULL
 WHERE e.doc ->> 'component' IS DISTINCT FROM 'healer'
 ORDER BY e.place
