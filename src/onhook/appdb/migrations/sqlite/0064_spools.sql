-- Events that an intake has acknowledged while the ledger had no quorum, and that the ledger does not have yet; times in
-- microseconds.
CREATE TABLE spools (
    node TEXT PRIMARY KEY,
    events INTEGER NOT NULL,
    oldest_at INTEGER NOT NULL,
    reported_at INTEGER NOT NULL
) STRICT;
