-- Reports that a user has sent at times that come again: `spec` is JSON, `revision` counts changes. `next_at` is the time of the next run, `ran_at` that of
-- the last one, with its outcome; `test_at` is when a test was asked for that has not been sent. Times are microseconds since
-- 1970, UTC. `report_optouts` has the addresses that want no further mails of a schedule.
CREATE TABLE report_schedules (
    schedule_id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_name TEXT NOT NULL REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    name TEXT NOT NULL,
    spec TEXT NOT NULL,
    revision INTEGER NOT NULL,
    is_paused INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    test_at INTEGER,
    ran_at INTEGER,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX report_schedules_by_user ON report_schedules (user_name);
CREATE TABLE report_optouts (
    schedule_id INTEGER NOT NULL REFERENCES report_schedules ON DELETE CASCADE,
    address TEXT NOT NULL,
    opted_out_at INTEGER NOT NULL,
    PRIMARY KEY (schedule_id, address)
) STRICT;
