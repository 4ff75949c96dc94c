-- The machine that has a directory or a file, by the name of its node; empty where there is one machine, and for a CDR
-- source that is a database, which each machine can read.
ALTER TABLE recordings ADD COLUMN node TEXT NOT NULL DEFAULT '';
ALTER TABLE cdr_sources ADD COLUMN node TEXT NOT NULL DEFAULT '';
ALTER TABLE swept_folders ADD COLUMN node TEXT NOT NULL DEFAULT '';
