-- The address that sent the last request of a counter; empty where it is not known.
ALTER TABLE counters ADD COLUMN last_peer TEXT NOT NULL DEFAULT '';
