-- Work on missed calls: who has claimed one, who is done with it, and when a reminder is due (microseconds since 1970,
-- UTC; null: never). Names are empty where there is none. A missed call without a row is open.
CREATE TABLE missed_call_work (
    sn TEXT NOT NULL,
    call_id TEXT NOT NULL,
    claimed_by TEXT NOT NULL DEFAULT '',
    claimed_at INTEGER,
    done_by TEXT NOT NULL DEFAULT '',
    done_at INTEGER,
    remind_at INTEGER,
    PRIMARY KEY (sn, call_id)
) STRICT;
