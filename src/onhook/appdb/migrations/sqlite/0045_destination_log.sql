-- The log of each destination: a row for each attempt, also for those that were accepted, with the notification as it was
-- sent. `exchange` is the HTTP request and the headers of its response as JSON, null for other kinds. Times are
-- microseconds since 1970, UTC. The columns that lists show come first: a list reads no body.
CREATE TABLE destination_log (
    attempt_id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination_id INTEGER NOT NULL REFERENCES destinations ON DELETE CASCADE,
    attempted_at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    status INTEGER,
    detail TEXT NOT NULL,
    notification_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    sn TEXT NOT NULL,
    call_id TEXT NOT NULL,
    is_test INTEGER NOT NULL,
    is_cut INTEGER NOT NULL,
    exchange TEXT,
    body BLOB NOT NULL,
    response BLOB NOT NULL
) STRICT;
CREATE INDEX destination_log_by_time ON destination_log (destination_id, attempted_at);
CREATE INDEX destination_log_by_call ON destination_log (call_id, sn);
-- Attempts of each destination by quarter of an hour (its number since 1970, UTC), for its chart.
CREATE TABLE attempt_counts (
    destination_id INTEGER NOT NULL REFERENCES destinations ON DELETE CASCADE,
    quarter INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    PRIMARY KEY (destination_id, quarter)
) STRICT, WITHOUT ROWID;
