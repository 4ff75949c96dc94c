CREATE TABLE people (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    role TEXT NOT NULL,
    limits TEXT,
    password BLOB,
    stamp INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen INTEGER
) STRICT;
CREATE TABLE invitations (
    hash BLOB PRIMARY KEY,
    name TEXT NOT NULL REFERENCES people ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) STRICT;
ALTER TABLE tokens ADD COLUMN limits TEXT;
CREATE TABLE audit (
    audit_id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    by TEXT NOT NULL,
    address TEXT NOT NULL,
    what TEXT NOT NULL,
    status INTEGER NOT NULL
) STRICT;
CREATE TABLE notes (
    note_id INTEGER PRIMARY KEY AUTOINCREMENT,
    sn TEXT NOT NULL,
    call_id TEXT NOT NULL,
    text TEXT NOT NULL,
    tags TEXT NOT NULL,
    who TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX notes_by_call ON notes (sn, call_id);
CREATE INDEX deliveries_of_a_call ON deliveries (call_id);
CREATE TABLE searches (
    search_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    path TEXT NOT NULL,
    who TEXT NOT NULL
) STRICT;
