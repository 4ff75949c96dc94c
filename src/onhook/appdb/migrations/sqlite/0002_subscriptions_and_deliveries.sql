CREATE TABLE subscriptions (
    subscription_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    wishes TEXT NOT NULL,
    app TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    failing_since INTEGER,
    delivered INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE signing_secrets (
    secret_id INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription_id INTEGER NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
    label TEXT NOT NULL,
    text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (subscription_id, text)
) STRICT;
CREATE TABLE streams (
    stream_id INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription_id INTEGER NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
    filter TEXT NOT NULL,
    cursor INTEGER,
    until INTEGER,
    is_held INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX streams_by_subscription ON streams (subscription_id);
CREATE TABLE deliveries (
    delivery_id INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription_id INTEGER NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
    state TEXT NOT NULL,
    event_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    sn TEXT NOT NULL,
    call_id TEXT NOT NULL,
    body BLOB NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    owed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX deliveries_by_call ON deliveries (subscription_id, state, sn, call_id, delivery_id);
CREATE INDEX deliveries_by_due ON deliveries (subscription_id, state, due_at);
CREATE TABLE attempts (
    attempt_id INTEGER PRIMARY KEY AUTOINCREMENT,
    delivery_id INTEGER NOT NULL REFERENCES deliveries ON DELETE CASCADE,
    at INTEGER NOT NULL,
    milliseconds INTEGER NOT NULL,
    status INTEGER,
    said TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX attempts_by_delivery ON attempts (delivery_id);
