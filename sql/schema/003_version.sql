COMMENT ON SCHEMA healer IS 'healer schema 3';
