-- Events that an intake has acknowledged while the ledger had no quorum, and that the ledger does not have yet; times in
-- microseconds.
CREATE TABLE spools (
    node TEXT COLLATE "C" PRIMARY KEY,
    events BIGINT NOT NULL,
    oldest_at BIGINT NOT NULL,
    reported_at BIGINT NOT NULL
);
