-- Who gets mails about issues: `topics` are groups of their kinds, as JSON. What a recipient is still to be notified of is a
-- row until a mail about it is added; `state` is `began` or `ended`. Times are microseconds since 1970, UTC.
CREATE TABLE issue_recipients (
    recipient_id INTEGER PRIMARY KEY AUTOINCREMENT,
    address TEXT NOT NULL UNIQUE,
    topics TEXT NOT NULL,
    mails_per_hour INTEGER NOT NULL
) STRICT;
CREATE TABLE pending_issue_notices (
    recipient_id INTEGER NOT NULL REFERENCES issue_recipients ON DELETE CASCADE,
    issue_id INTEGER NOT NULL REFERENCES issues ON DELETE CASCADE,
    state TEXT NOT NULL,
    noted_at INTEGER NOT NULL,
    PRIMARY KEY (recipient_id, issue_id, state)
) STRICT;
