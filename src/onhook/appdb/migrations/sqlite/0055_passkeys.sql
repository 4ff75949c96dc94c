-- Passkeys of users, by the id that the authenticator chose. `user_handle` is what it calls the user: the same in all passkeys
-- of one. `rp_id` is the host name for which it was made. Times are microseconds since 1970, UTC.
CREATE TABLE passkeys (
    passkey_id INTEGER PRIMARY KEY AUTOINCREMENT,
    credential_id BLOB NOT NULL UNIQUE,
    user_name TEXT NOT NULL REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    name TEXT NOT NULL,
    user_handle BLOB NOT NULL,
    public_key BLOB NOT NULL,
    sign_count INTEGER NOT NULL,
    rp_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT;
CREATE INDEX passkeys_by_user ON passkeys (user_name);
-- What a browser must answer, by the hash of the id in its cookie: each once, for some minutes. The content is JSON.
CREATE TABLE sign_in_challenges (
    hash BLOB PRIMARY KEY,
    purpose TEXT NOT NULL,
    user_name TEXT REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    content TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sign_in_challenges_by_end ON sign_in_challenges (expires_at);
-- The address of the console as people know it, for passkeys; empty: that of the mail settings.
ALTER TABLE sign_in_settings ADD COLUMN console_url TEXT NOT NULL DEFAULT '';
