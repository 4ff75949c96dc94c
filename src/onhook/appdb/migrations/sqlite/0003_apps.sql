CREATE TABLE apps (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    client_id TEXT NOT NULL UNIQUE,
    secret_hash BLOB NOT NULL,
    pbxs TEXT NOT NULL,
    networks TEXT NOT NULL,
    manner TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used INTEGER
) STRICT;
CREATE TABLE blocked (
    address TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT;
