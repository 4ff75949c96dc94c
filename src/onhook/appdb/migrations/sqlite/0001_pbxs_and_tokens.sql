CREATE TABLE pbxs (
    sn TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    dialect TEXT NOT NULL,
    zone TEXT,
    is_unsigned INTEGER NOT NULL,
    plan TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE secrets (
    secret_id INTEGER PRIMARY KEY AUTOINCREMENT,
    sn TEXT NOT NULL REFERENCES pbxs ON DELETE CASCADE,
    label TEXT NOT NULL,
    text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (sn, text)
) STRICT;
CREATE TABLE tokens (
    name TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    role TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used INTEGER
) STRICT;
