-- The mail server of the installation, in at most one row. `tls` is `tls`, `starttls` or `off`; an empty `user_name` does
-- not log in. `console_url` is where links in mails lead.
CREATE TABLE mail_settings (
    settings_id INTEGER PRIMARY KEY CHECK (settings_id = 1),
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    tls TEXT NOT NULL,
    user_name TEXT NOT NULL,
    password TEXT NOT NULL,
    sender TEXT NOT NULL,
    ca_certificates TEXT NOT NULL,
    allow_private INTEGER NOT NULL,
    console_url TEXT NOT NULL,
    mails_per_hour INTEGER NOT NULL
) STRICT;
