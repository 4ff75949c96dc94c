-- Thousands of events may be retried, each with held replays: for each range of them the live streams are looked up, and
-- whether it is held already. Afterwards the held replays are found by their last number.
CREATE INDEX streams_live ON streams (destination_id) WHERE until IS NULL;
CREATE INDEX streams_held ON streams (until, destination_id) WHERE is_held;
