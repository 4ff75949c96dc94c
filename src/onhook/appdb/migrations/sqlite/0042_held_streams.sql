-- Held streams are looked up with a comparison, which all engines have; the index has the same.
DROP INDEX streams_held;
CREATE INDEX streams_held ON streams (until, destination_id) WHERE is_held = 1;
