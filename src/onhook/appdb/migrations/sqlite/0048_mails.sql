-- Mails to send, and what became of those that were. `mail_key` identifies a mail, so that it is added once; the domain of
-- its Message-ID is set by the first attempt. The content is JSON, and empty as soon as the mail is no longer pending. Times
-- are microseconds since 1970, UTC; a pending mail is tried at `due_at`, and fails at `expires_at`.
CREATE TABLE mails (
    mail_id INTEGER PRIMARY KEY AUTOINCREMENT,
    mail_key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    content TEXT NOT NULL,
    message_domain TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at INTEGER,
    attempts INTEGER NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX mails_by_state ON mails (state, due_at);
CREATE INDEX mails_by_recipient ON mails (kind, recipient, created_at);
