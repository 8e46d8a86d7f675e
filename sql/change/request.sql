-- Leaves a request for the application, unless the same one is still in force.
-- Parameters: $1 text kind; $2 text target; $3 text reason; $4 bigint run; $5 bigint seconds after which it is void.
-- Columns: id (no row: one is in force already).
INSERT INTO healer.request (kind, target, reason, run_id, expires_at)
SELECT $1::text, $2::text, $3::text, $4::bigint, clock_timestamp() + make_interval(secs => $5::bigint)
 WHERE NOT EXISTS (SELECT 1 FROM healer.request r
                    WHERE r.kind = $1::text AND r.target = $2::text AND r.taken_at IS NULL
                      AND r.expires_at > clock_timestamp())
RETURNING id
