-- healer schema, version 3: what the passes that optimise, analyse and report keep.
-- Run by `healer init`, in one transaction; safe to repeat.

-- A setting that is locked stays where it is: a person wants it so, or took a change of it back.
ALTER TABLE healer.setting ADD COLUMN IF NOT EXISTS locked boolean NOT NULL DEFAULT false;

