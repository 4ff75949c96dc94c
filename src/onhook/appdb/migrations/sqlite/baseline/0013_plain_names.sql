-- The schema of version 13, with which a new file begins: the steps up to there rename nearly every column.
CREATE TABLE pbxs (
    sn TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    dialect TEXT NOT NULL,
    zone TEXT,
    is_unsigned INTEGER NOT NULL,
    number_plan TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE secrets (
    secret_id INTEGER PRIMARY KEY AUTOINCREMENT,
    sn TEXT NOT NULL REFERENCES pbxs ON DELETE CASCADE,
    label TEXT NOT NULL,
    text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (sn, text)
) STRICT;
CREATE TABLE tokens (
    name TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    role TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER
, scope TEXT) STRICT;
CREATE TABLE "destinations" (
    destination_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    spec TEXT NOT NULL,
    app TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    failing_since INTEGER,
    attempts_succeeded INTEGER NOT NULL,
    attempts_failed INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL
, retry_after INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE signing_secrets (
    secret_id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination_id INTEGER NOT NULL REFERENCES "destinations" ON DELETE CASCADE,
    label TEXT NOT NULL,
    text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (destination_id, text)
) STRICT;
CREATE TABLE streams (
    stream_id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination_id INTEGER NOT NULL REFERENCES "destinations" ON DELETE CASCADE,
    filter TEXT NOT NULL,
    cursor INTEGER,
    until INTEGER,
    is_held INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE deliveries (
    delivery_id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination_id INTEGER NOT NULL REFERENCES "destinations" ON DELETE CASCADE,
    state TEXT NOT NULL,
    notification_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    sn TEXT NOT NULL,
    call_id TEXT NOT NULL,
    body BLOB NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    pending_since INTEGER NOT NULL
, busy_count INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX deliveries_by_call ON deliveries (destination_id, state, sn, call_id, delivery_id);
CREATE INDEX deliveries_by_due ON deliveries (destination_id, state, due_at);
CREATE TABLE attempts (
    attempt_id INTEGER PRIMARY KEY AUTOINCREMENT,
    delivery_id INTEGER NOT NULL REFERENCES deliveries ON DELETE CASCADE,
    attempted_at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    status INTEGER,
    detail TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX attempts_by_delivery ON attempts (delivery_id);
CREATE TABLE apps (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    client_id TEXT NOT NULL UNIQUE,
    secret_hash BLOB NOT NULL,
    pbxs TEXT NOT NULL,
    networks TEXT NOT NULL,
    behaviour TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT;
CREATE TABLE "blocked_addresses" (
    address TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT;
CREATE TABLE "source_matches" (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    addresses TEXT NOT NULL,
    path TEXT NOT NULL
) STRICT;
CREATE TABLE "pbx_credentials" (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    url TEXT NOT NULL,
    client_id TEXT NOT NULL,
    client_secret TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    tokens TEXT NOT NULL
) STRICT;
CREATE TABLE "sync_state" (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    intervals TEXT NOT NULL DEFAULT '',
    pbx_status TEXT NOT NULL DEFAULT '',
    progress TEXT NOT NULL DEFAULT '',
    request TEXT NOT NULL DEFAULT '',
    result TEXT NOT NULL DEFAULT '',
    silence_minutes INTEGER
) STRICT;
CREATE TABLE alarms (
    alarm_id INTEGER PRIMARY KEY AUTOINCREMENT,
    sn TEXT NOT NULL REFERENCES pbxs ON DELETE CASCADE,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    hint TEXT NOT NULL,
    began_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    ended_at INTEGER,
    occurrences INTEGER NOT NULL
) STRICT;
CREATE TABLE "users" (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    role TEXT NOT NULL,
    scope TEXT,
    password BLOB,
    password_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER
) STRICT;
CREATE TABLE invitations (
    hash BLOB PRIMARY KEY,
    name TEXT NOT NULL REFERENCES "users" ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE TABLE audit (
    audit_id INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    credential TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    status INTEGER NOT NULL
) STRICT;
CREATE TABLE notes (
    note_id INTEGER PRIMARY KEY AUTOINCREMENT,
    sn TEXT NOT NULL,
    call_id TEXT NOT NULL,
    text TEXT NOT NULL,
    tags TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX notes_by_call ON notes (sn, call_id);
CREATE INDEX deliveries_of_a_call ON deliveries (call_id);
CREATE TABLE "saved_searches" (
    search_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    path TEXT NOT NULL,
    author TEXT NOT NULL
) STRICT;
CREATE TABLE asterisks (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    user TEXT NOT NULL,
    secret TEXT NOT NULL,
    tls TEXT NOT NULL,
    trunks TEXT,
    inbound TEXT NOT NULL,
    has_pins INTEGER NOT NULL,
    detected_config TEXT NOT NULL DEFAULT '',
    is_connected INTEGER NOT NULL DEFAULT 0,
    connected_at INTEGER,
    covered_until INTEGER,
    error TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX deliveries_undelivered ON deliveries (destination_id, notification_id) WHERE state <> 'delivered';
CREATE INDEX deliveries_by_age ON deliveries (destination_id, state, pending_since);
CREATE TABLE recordings (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    directory TEXT NOT NULL
) STRICT;
CREATE TABLE "retention_overrides" (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    days INTEGER NOT NULL
) STRICT;
CREATE TABLE "cdr_sources" (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    location TEXT NOT NULL,
    cdr_table TEXT NOT NULL,
    columns TEXT NOT NULL,
    password TEXT NOT NULL
) STRICT;
CREATE INDEX streams_by_destination ON streams (destination_id);
CREATE UNIQUE INDEX alarms_open ON alarms (sn, kind) WHERE ended_at IS NULL;
