-- By which ways a user is notified of issues and alarms: a mail to the own address, where `destination_id` is NULL, or a
-- destination that notifies of what users choose. `kinds` are beginnings of kinds of issues, as JSON. What a channel is still to
-- notify of is a row until it is sent; `state` is `began` or `ended`. In quiet hours of a user, from `quiet_begin` to
-- `quiet_end` in `zone`, nothing is sent. Times are microseconds since 1970, UTC.
CREATE TABLE alert_settings (
    user_name TEXT PRIMARY KEY REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    quiet_begin INTEGER NOT NULL,
    quiet_end INTEGER NOT NULL,
    zone TEXT NOT NULL
) STRICT;
CREATE TABLE alert_channels (
    channel_id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_name TEXT NOT NULL REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    destination_id INTEGER REFERENCES destinations ON DELETE CASCADE,
    kinds TEXT NOT NULL
) STRICT;
CREATE INDEX alert_channels_by_user ON alert_channels (user_name);
CREATE TABLE pending_alerts (
    channel_id INTEGER NOT NULL REFERENCES alert_channels ON DELETE CASCADE,
    issue_id INTEGER NOT NULL REFERENCES issues ON DELETE CASCADE,
    state TEXT NOT NULL,
    noted_at INTEGER NOT NULL,
    PRIMARY KEY (channel_id, issue_id, state)
) STRICT;
