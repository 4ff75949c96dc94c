CREATE TABLE receiving (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    stretches TEXT NOT NULL DEFAULT '',
    contact TEXT NOT NULL DEFAULT '',
    progress TEXT NOT NULL DEFAULT '',
    wish TEXT NOT NULL DEFAULT '',
    outcome TEXT NOT NULL DEFAULT '',
    silence_minutes INTEGER
) STRICT;
CREATE TABLE alarms (
    alarm_id INTEGER PRIMARY KEY AUTOINCREMENT,
    sn TEXT NOT NULL REFERENCES pbxs ON DELETE CASCADE,
    kind TEXT NOT NULL,
    what TEXT NOT NULL,
    todo TEXT NOT NULL,
    began_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    ended_at INTEGER,
    times INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX alarms_going_on ON alarms (sn, kind) WHERE ended_at IS NULL;
