-- Gives the lease back.
-- Parameters: $1 text pass; $2 text token.
-- Columns: pass.
UPDATE healer.lease SET expires_at = '-infinity' WHERE pass = $1::text AND token = $2::text RETURNING pass
