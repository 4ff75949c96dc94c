-- Names of numbers: those that a person or an import has set, of PBXs and of contacts outside (sn is empty), and those
-- that were learnt from events. Numbers of rows are never used again: an erasure names rows by them.
CREATE TABLE directory_entries (
    entry_id INTEGER PRIMARY KEY AUTOINCREMENT,
    sn TEXT NOT NULL,
    number TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    department TEXT NOT NULL,
    site TEXT NOT NULL,
    company TEXT NOT NULL,
    UNIQUE (sn, number)
) STRICT;
CREATE TABLE learnt_names (
    learnt_id INTEGER PRIMARY KEY AUTOINCREMENT,
    sn TEXT NOT NULL,
    number TEXT NOT NULL,
    name TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    UNIQUE (sn, number)
) STRICT;
-- At most one row. `revision` grows with each change of the names, `erasures` with each erasure; the raw events up to
-- `learnt_position` have been read for names.
CREATE TABLE directory_state (
    state_id INTEGER PRIMARY KEY CHECK (state_id = 1),
    revision INTEGER NOT NULL,
    learnt_position INTEGER NOT NULL,
    erasures INTEGER NOT NULL
) STRICT;
