-- What is valid at every hub: sessions of browsers, tokens of apps, and counts of failed logins. Of sessions and tokens
-- only hashes are stored. A session belongs to a user with a version of the password, or to a token.
CREATE TABLE sessions (
    session_number INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,
    user_name TEXT REFERENCES users ON DELETE CASCADE,
    password_version INTEGER,
    token_hash BLOB REFERENCES tokens (hash) ON DELETE CASCADE,
    address TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_name);
CREATE INDEX sessions_by_token ON sessions (token_hash);
CREATE INDEX sessions_by_end ON sessions (expires_at);
-- A refresh token is valid once: then it is NULL, and the row ends with its access token.
CREATE TABLE app_tokens (
    grant_id INTEGER PRIMARY KEY AUTOINCREMENT,
    client_id TEXT NOT NULL REFERENCES apps (client_id) ON DELETE CASCADE,
    secret_hash BLOB NOT NULL,
    access_hash BLOB NOT NULL UNIQUE,
    refresh_hash BLOB UNIQUE,
    access_until INTEGER NOT NULL,
    refresh_until INTEGER NOT NULL
) STRICT;
CREATE INDEX app_tokens_by_app ON app_tokens (client_id);
CREATE INDEX app_tokens_by_end ON app_tokens (refresh_until);
CREATE TABLE failed_logins (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    network TEXT NOT NULL,
    failures INTEGER NOT NULL,
    counted_at INTEGER NOT NULL,
    PRIMARY KEY (kind, name, network)
) STRICT;
CREATE INDEX failed_logins_by_time ON failed_logins (kind, counted_at);
