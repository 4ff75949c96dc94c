CREATE TABLE asterisks (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    user TEXT NOT NULL,
    secret TEXT NOT NULL,
    tls TEXT NOT NULL,
    trunks TEXT,
    inbound TEXT NOT NULL,
    has_pins INTEGER NOT NULL,
    learned TEXT NOT NULL DEFAULT '',
    is_connected INTEGER NOT NULL DEFAULT 0,
    connected_at INTEGER,
    covered_until INTEGER,
    trouble TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE asterisk_gaps (
    gap_id INTEGER PRIMARY KEY AUTOINCREMENT,
    sn TEXT NOT NULL REFERENCES asterisks ON DELETE CASCADE,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    filled_at INTEGER
) STRICT;
