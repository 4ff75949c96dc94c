-- Issues that destinations with `notifies_of` = `issues` were notified of: open ones, and the latest that have ended.
CREATE TABLE issues (
    issue_id INTEGER PRIMARY KEY AUTOINCREMENT,
    issue_key TEXT NOT NULL,
    kind TEXT NOT NULL,
    sn TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    hint TEXT NOT NULL,
    destination_id INTEGER,
    began_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE UNIQUE INDEX issues_open ON issues (issue_key) WHERE ended_at IS NULL;
