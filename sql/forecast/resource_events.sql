-- Branch of forecast/resources: the event table in MB, with its indexes and partitions.
-- {events_limit}: how many MB it may take.
SELECT 'event table (MB)'::text AS resource,
       (SELECT sum(pg_total_relation_size(t.oid)) / 1048576.0
          FROM (SELECT {events_literal}::regclass::oid AS oid
                UNION SELECT p.relid FROM pg_partition_tree({events_literal}::regclass) p) t)::double precision AS value,
       {events_limit}::double precision AS most
