-- Branch of errors/markers: deployments and changes of settings that the application tells of.
SELECT {events_at} AS at,
       CASE WHEN r.event_type ILIKE '%deploy%' OR r.event_type ILIKE 'release%' THEN 'deploy' ELSE 'setting' END AS kind,
       left(concat_ws(' ', r.event_type::text, coalesce({errors_document} ->> 'version', {errors_document} ->> 'name',
                                                        {errors_document} ->> 'key')), 200) AS title
  FROM {events} r
 WHERE r.{events_at_column} > {errors_events_since} AND r.{events_at_column} <= {errors_events_until}
   AND (r.event_type ILIKE '%deploy%' OR r.event_type ILIKE 'release%' OR r.event_type ILIKE '%config%change%'
        OR r.event_type ILIKE '%setting%change%')
   AND r.event_type NOT ILIKE '%fail%' AND r.event_type NOT LIKE 'error\_%'
