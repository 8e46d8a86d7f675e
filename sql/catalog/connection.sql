-- How this connection reaches the server.
-- Parameters: none.
-- Columns: pid, port (of the server; NULL over a socket), now.
SELECT pg_backend_pid()::bigint AS pid, inet_server_port()::bigint AS port, clock_timestamp() AS now
