CREATE TABLE apis (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    url TEXT NOT NULL,
    client_id TEXT NOT NULL,
    client_secret TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    tokens TEXT NOT NULL
) STRICT;
