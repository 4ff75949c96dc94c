-- AUTOINCREMENT: a number is never given twice, even if the table is emptied by hand.
CREATE TABLE reports (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    received_at INTEGER NOT NULL,
    key BLOB NOT NULL,
    sn TEXT NOT NULL,
    dialect TEXT NOT NULL,
    via TEXT NOT NULL,
    signature TEXT NOT NULL,
    peer TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
-- The key first: it grows with time, so that all PBXs together have one right-hand end.
CREATE UNIQUE INDEX reports_by_key ON reports (key, sn);
CREATE TABLE tallies (
    what TEXT NOT NULL,
    sn TEXT NOT NULL,
    label TEXT NOT NULL,
    count INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (what, sn, label)
) STRICT, WITHOUT ROWID;
