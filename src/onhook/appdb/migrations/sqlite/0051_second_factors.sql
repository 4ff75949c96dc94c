-- Second factors of users. A secret is base32. `last_step` is the latest step of 30 seconds whose code was used: its code and
-- earlier ones are refused. An enrolment is a secret whose app has not given a code yet. Times are microseconds since 1970, UTC.
CREATE TABLE totp_factors (
    user_name TEXT PRIMARY KEY REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    secret TEXT NOT NULL,
    last_step INTEGER NOT NULL,
    confirmed_at INTEGER NOT NULL
) STRICT;
CREATE TABLE totp_enrolments (
    user_name TEXT PRIMARY KEY REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    secret TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE TABLE recovery_codes (
    hash BLOB PRIMARY KEY,
    user_name TEXT NOT NULL REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE
) STRICT;
CREATE INDEX recovery_codes_by_user ON recovery_codes (user_name);
-- Sign-ins that wait for the second factor, by the hash of the id in the browser's cookie. They grant nothing.
CREATE TABLE pending_sign_ins (
    hash BLOB PRIMARY KEY,
    user_name TEXT NOT NULL REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    password_version INTEGER NOT NULL,
    credential TEXT NOT NULL,
    next_path TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX pending_sign_ins_by_user ON pending_sign_ins (user_name);
-- Settings of the sign-in, in at most one row: roles, separated by commas, whose users need a second factor.
CREATE TABLE sign_in_settings (
    settings_id INTEGER PRIMARY KEY CHECK (settings_id = 1),
    factor_roles TEXT NOT NULL
) STRICT;
-- The second factor with which a session began; empty without one.
ALTER TABLE sessions ADD COLUMN factor TEXT NOT NULL DEFAULT '';
