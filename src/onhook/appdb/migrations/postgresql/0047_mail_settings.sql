-- The mail server of the installation, in at most one row. `tls` is `tls`, `starttls` or `off`; an empty `user_name` does
-- not log in. `console_url` is where links in mails lead.
CREATE TABLE mail_settings (
    settings_id BIGINT PRIMARY KEY CHECK (settings_id = 1),
    host TEXT COLLATE "C" NOT NULL,
    port BIGINT NOT NULL,
    tls TEXT COLLATE "C" NOT NULL,
    user_name TEXT COLLATE "C" NOT NULL,
    password TEXT COLLATE "C" NOT NULL,
    sender TEXT COLLATE "C" NOT NULL,
    ca_certificates TEXT COLLATE "C" NOT NULL,
    allow_private BIGINT NOT NULL,
    console_url TEXT COLLATE "C" NOT NULL,
    mails_per_hour BIGINT NOT NULL
);
