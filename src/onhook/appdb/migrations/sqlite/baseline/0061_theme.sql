-- The schema of version 61, with which a new file begins: it takes a fraction of the time of its steps.
CREATE TABLE pbxs (
    sn TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    dialect TEXT NOT NULL,
    zone TEXT,
    is_unsigned INTEGER NOT NULL,
    number_plan TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    keeps_unregistered INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE TABLE secrets (
    secret_id INTEGER PRIMARY KEY AUTOINCREMENT,
    sn TEXT NOT NULL REFERENCES pbxs ON DELETE CASCADE,
    label TEXT NOT NULL,
    text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    shared_id INTEGER,
    UNIQUE (sn, text)
) STRICT;
CREATE TABLE tokens (
    name TEXT PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    role TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    scope TEXT,
    expires_at INTEGER
) STRICT;
CREATE TABLE destinations (
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
    created_at INTEGER NOT NULL,
    retry_after INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE signing_secrets (
    secret_id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination_id INTEGER NOT NULL REFERENCES destinations ON DELETE CASCADE,
    label TEXT NOT NULL,
    text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (destination_id, text)
) STRICT;
CREATE TABLE streams (
    stream_id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination_id INTEGER NOT NULL REFERENCES destinations ON DELETE CASCADE,
    filter TEXT NOT NULL,
    cursor INTEGER,
    until INTEGER,
    is_held INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    done_ahead TEXT
) STRICT;
CREATE TABLE deliveries (
    delivery_id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination_id INTEGER NOT NULL REFERENCES destinations ON DELETE CASCADE,
    state TEXT NOT NULL,
    notification_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    sn TEXT NOT NULL,
    call_id TEXT NOT NULL,
    body BLOB NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    pending_since INTEGER NOT NULL,
    busy_count INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE attempts (
    attempt_id INTEGER PRIMARY KEY AUTOINCREMENT,
    delivery_id INTEGER NOT NULL REFERENCES deliveries ON DELETE CASCADE,
    attempted_at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    status INTEGER,
    detail TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE apps (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    client_id TEXT NOT NULL UNIQUE,
    secret_hash BLOB NOT NULL,
    pbxs TEXT NOT NULL,
    networks TEXT NOT NULL,
    behaviour TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    allow_control INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE source_matches (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    addresses TEXT NOT NULL,
    path TEXT NOT NULL
) STRICT;
CREATE TABLE pbx_credentials (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    url TEXT NOT NULL,
    client_id TEXT NOT NULL,
    client_secret TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    tokens TEXT NOT NULL
) STRICT;
CREATE TABLE sync_state (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    intervals TEXT NOT NULL DEFAULT '',
    pbx_status TEXT NOT NULL DEFAULT '',
    progress TEXT NOT NULL DEFAULT '',
    request TEXT NOT NULL DEFAULT '',
    result TEXT NOT NULL DEFAULT '',
    silence_minutes INTEGER,
    push_channel TEXT NOT NULL DEFAULT ''
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
CREATE TABLE users (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    role TEXT NOT NULL,
    scope TEXT,
    password BLOB,
    password_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER,
    is_disabled INTEGER NOT NULL DEFAULT 0,
    permissions TEXT NOT NULL DEFAULT '',
    email TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE invitations (
    hash BLOB PRIMARY KEY,
    name TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE TABLE audit (
    audit_id INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    credential TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    status INTEGER NOT NULL,
    way TEXT NOT NULL DEFAULT '',
    before TEXT NOT NULL DEFAULT '',
    after TEXT NOT NULL DEFAULT ''
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
CREATE TABLE saved_searches (
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
CREATE TABLE recordings (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    directory TEXT NOT NULL,
    node TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE retention_overrides (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    days INTEGER NOT NULL
) STRICT;
CREATE TABLE cdr_sources (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    location TEXT NOT NULL,
    cdr_table TEXT NOT NULL,
    columns TEXT NOT NULL,
    password TEXT NOT NULL,
    node TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE issues (
    issue_id INTEGER PRIMARY KEY AUTOINCREMENT,
    issue_key TEXT NOT NULL,
    kind TEXT NOT NULL,
    sn TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    hint TEXT NOT NULL,
    destination_id INTEGER,
    began_at INTEGER NOT NULL,
    ended_at INTEGER
) STRICT;
CREATE TABLE blocked_addresses (
    address TEXT NOT NULL,
    client_id TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (address, client_id)
) STRICT;
CREATE TABLE share_tokens (
    name TEXT PRIMARY KEY REFERENCES tokens (name) ON DELETE CASCADE,
    export_filter TEXT NOT NULL
) STRICT;
CREATE TABLE pbx_conventions (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    encoding TEXT NOT NULL,
    ring_time_meaning TEXT NOT NULL
) STRICT;
CREATE TABLE serial_numbers (
    sn TEXT PRIMARY KEY COLLATE NOCASE,
    pbx_sn TEXT NOT NULL,
    is_accepted INTEGER NOT NULL,
    removed_at INTEGER
) STRICT;
CREATE TABLE disk_samples (
    measured_at INTEGER PRIMARY KEY,
    free_bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE secret_owners (
    shared_id INTEGER NOT NULL,
    sn TEXT NOT NULL,
    PRIMARY KEY (shared_id, sn)
) STRICT;
CREATE TABLE stores (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    fence INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT;
CREATE TABLE sessions (
    session_number INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,
    user_name TEXT REFERENCES users ON DELETE CASCADE,
    password_version INTEGER,
    token_hash BLOB REFERENCES tokens (hash) ON DELETE CASCADE,
    address TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    factor TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE app_tokens (
    grant_id INTEGER PRIMARY KEY AUTOINCREMENT,
    client_id TEXT NOT NULL REFERENCES apps (client_id) ON DELETE CASCADE,
    secret_hash BLOB NOT NULL,
    access_hash BLOB NOT NULL UNIQUE,
    refresh_hash BLOB UNIQUE,
    access_until INTEGER NOT NULL,
    refresh_until INTEGER NOT NULL
) STRICT;
CREATE TABLE failed_logins (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    network TEXT NOT NULL,
    failures INTEGER NOT NULL,
    counted_at INTEGER NOT NULL,
    PRIMARY KEY (kind, name, network)
) STRICT;
CREATE TABLE mask_key (
    key_id INTEGER PRIMARY KEY CHECK (key_id = 1),
    text TEXT NOT NULL
) STRICT;
CREATE TABLE directory_entries (
    entry_id INTEGER PRIMARY KEY AUTOINCREMENT,
    sn TEXT NOT NULL,
    number TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    department TEXT NOT NULL,
    site TEXT NOT NULL,
    company TEXT NOT NULL,
    UNIQUE (sn, number)
) STRICT;
CREATE TABLE learnt_names (
    learnt_id INTEGER PRIMARY KEY AUTOINCREMENT,
    sn TEXT NOT NULL,
    number TEXT NOT NULL,
    name TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    UNIQUE (sn, number)
) STRICT;
CREATE TABLE directory_state (
    state_id INTEGER PRIMARY KEY CHECK (state_id = 1),
    revision INTEGER NOT NULL,
    learnt_position INTEGER NOT NULL,
    erasures INTEGER NOT NULL
) STRICT;
CREATE TABLE queue_targets (
    sn TEXT NOT NULL REFERENCES pbxs ON DELETE CASCADE,
    queue TEXT NOT NULL,
    service_level_seconds INTEGER NOT NULL,
    short_abandon_seconds INTEGER NOT NULL,
    PRIMARY KEY (sn, queue)
) STRICT;
CREATE TABLE reader_settings (
    user_name TEXT PRIMARY KEY REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    zone TEXT NOT NULL,
    clock TEXT NOT NULL,
    call_columns TEXT NOT NULL,
    theme TEXT NOT NULL DEFAULT 'system'
) STRICT;
CREATE TABLE external_ids (
    destination_id INTEGER NOT NULL REFERENCES destinations ON DELETE CASCADE,
    number INTEGER NOT NULL,
    sn TEXT NOT NULL,
    call_id TEXT NOT NULL,
    external_id TEXT NOT NULL,
    PRIMARY KEY (destination_id, number),
    UNIQUE (destination_id, sn, call_id)
) STRICT;
CREATE TABLE leg_groups (
    group_id INTEGER PRIMARY KEY,
    sn TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    due_at INTEGER,
    legs TEXT NOT NULL
) STRICT;
CREATE TABLE leg_names (
    sn TEXT NOT NULL,
    name TEXT NOT NULL,
    group_id INTEGER NOT NULL REFERENCES leg_groups ON DELETE CASCADE,
    PRIMARY KEY (sn, name)
) STRICT;
CREATE TABLE leg_position (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
) STRICT;
CREATE TABLE dashboards (
    dashboard_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL COLLATE NOCASE,
    author TEXT NOT NULL,
    is_shared INTEGER NOT NULL,
    content TEXT NOT NULL,
    UNIQUE (author, name)
) STRICT;
CREATE TABLE wallboard_links (
    link_id INTEGER PRIMARY KEY AUTOINCREMENT,
    dashboard_id INTEGER NOT NULL REFERENCES dashboards ON DELETE CASCADE,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    scope TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    last_used_at INTEGER,
    author TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE missed_call_work (
    sn TEXT NOT NULL,
    call_id TEXT NOT NULL,
    claimed_by TEXT NOT NULL DEFAULT '',
    claimed_at INTEGER,
    done_by TEXT NOT NULL DEFAULT '',
    done_at INTEGER,
    remind_at INTEGER,
    PRIMARY KEY (sn, call_id)
) STRICT;
CREATE TABLE saved_questions (
    question_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL COLLATE NOCASE,
    author TEXT NOT NULL,
    is_shared INTEGER NOT NULL,
    sql TEXT NOT NULL,
    UNIQUE (author, name)
) STRICT;
CREATE TABLE sql_history (
    history_id INTEGER PRIMARY KEY AUTOINCREMENT,
    author TEXT NOT NULL,
    sql TEXT NOT NULL,
    ran_at INTEGER NOT NULL,
    UNIQUE (author, sql)
) STRICT;
CREATE TABLE pbx_names (
    sn TEXT NOT NULL REFERENCES pbxs ON DELETE CASCADE,
    number TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (sn, number)
) STRICT;
CREATE TABLE line_connections (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    mode TEXT NOT NULL,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    fields TEXT NOT NULL,
    precedence TEXT NOT NULL DEFAULT 'line'
) STRICT;
CREATE TABLE destination_log (
    attempt_id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination_id INTEGER NOT NULL REFERENCES destinations ON DELETE CASCADE,
    attempted_at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    status INTEGER,
    detail TEXT NOT NULL,
    notification_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    sn TEXT NOT NULL,
    call_id TEXT NOT NULL,
    is_test INTEGER NOT NULL,
    is_cut INTEGER NOT NULL,
    exchange TEXT,
    body BLOB NOT NULL,
    response BLOB NOT NULL
) STRICT;
CREATE TABLE attempt_counts (
    destination_id INTEGER NOT NULL REFERENCES destinations ON DELETE CASCADE,
    quarter INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    PRIMARY KEY (destination_id, quarter)
) STRICT, WITHOUT ROWID;
CREATE TABLE swept_folders (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    path TEXT NOT NULL,
    target TEXT NOT NULL,
    swept_at INTEGER,
    stored INTEGER NOT NULL,
    unreadable INTEGER NOT NULL,
    error TEXT NOT NULL,
    ledger_seq INTEGER NOT NULL DEFAULT 0,
    node TEXT NOT NULL DEFAULT ''
) STRICT;
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
CREATE TABLE issue_recipients (
    recipient_id INTEGER PRIMARY KEY AUTOINCREMENT,
    address TEXT NOT NULL UNIQUE,
    topics TEXT NOT NULL,
    mails_per_hour INTEGER NOT NULL
) STRICT;
CREATE TABLE pending_issue_notices (
    recipient_id INTEGER NOT NULL REFERENCES issue_recipients ON DELETE CASCADE,
    issue_id INTEGER NOT NULL REFERENCES issues ON DELETE CASCADE,
    state TEXT NOT NULL,
    noted_at INTEGER NOT NULL,
    PRIMARY KEY (recipient_id, issue_id, state)
) STRICT;
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
CREATE TABLE pending_sign_ins (
    hash BLOB PRIMARY KEY,
    user_name TEXT NOT NULL REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    password_version INTEGER NOT NULL,
    credential TEXT NOT NULL,
    next_path TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE TABLE sign_in_settings (
    settings_id INTEGER PRIMARY KEY CHECK (settings_id = 1),
    factor_roles TEXT NOT NULL,
    console_url TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE installation_retention (
    settings_id INTEGER PRIMARY KEY CHECK (settings_id = 1),
    days INTEGER NOT NULL
) STRICT;
CREATE TABLE swept_files (
    sn TEXT NOT NULL REFERENCES swept_folders ON DELETE CASCADE,
    name TEXT NOT NULL,
    inode INTEGER NOT NULL,
    size INTEGER NOT NULL,
    written_ns INTEGER NOT NULL,
    position INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (sn, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE report_schedules (
    schedule_id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_name TEXT NOT NULL REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    name TEXT NOT NULL,
    spec TEXT NOT NULL,
    revision INTEGER NOT NULL,
    is_paused INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    test_at INTEGER,
    ran_at INTEGER,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE TABLE report_optouts (
    schedule_id INTEGER NOT NULL REFERENCES report_schedules ON DELETE CASCADE,
    address TEXT NOT NULL,
    opted_out_at INTEGER NOT NULL,
    PRIMARY KEY (schedule_id, address)
) STRICT;
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
CREATE TABLE sign_in_challenges (
    hash BLOB PRIMARY KEY,
    purpose TEXT NOT NULL,
    user_name TEXT REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    content TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
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
CREATE TABLE pending_alerts (
    channel_id INTEGER NOT NULL REFERENCES alert_channels ON DELETE CASCADE,
    issue_id INTEGER NOT NULL REFERENCES issues ON DELETE CASCADE,
    state TEXT NOT NULL,
    noted_at INTEGER NOT NULL,
    PRIMARY KEY (channel_id, issue_id, state)
) STRICT;
CREATE TABLE shared_ledger (
    ledger_id INTEGER PRIMARY KEY CHECK (ledger_id = 1),
    identity TEXT NOT NULL
) STRICT;
CREATE TABLE shared_certificates (
    name TEXT PRIMARY KEY,
    certificate TEXT NOT NULL,
    private_key TEXT NOT NULL
) STRICT;
CREATE TABLE identity_provider (
    provider_id INTEGER PRIMARY KEY CHECK (provider_id = 1),
    issuer TEXT NOT NULL,
    client_id TEXT NOT NULL,
    client_secret TEXT NOT NULL,
    settings TEXT NOT NULL
) STRICT;
CREATE TABLE identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_name TEXT NOT NULL REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    is_managed INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;
CREATE INDEX deliveries_by_call ON deliveries (destination_id, state, sn, call_id, delivery_id);
CREATE INDEX deliveries_by_due ON deliveries (destination_id, state, due_at);
CREATE INDEX attempts_by_delivery ON attempts (delivery_id);
CREATE INDEX notes_by_call ON notes (sn, call_id);
CREATE INDEX deliveries_of_a_call ON deliveries (call_id);
CREATE UNIQUE INDEX deliveries_undelivered ON deliveries (destination_id, notification_id) WHERE state <> 'delivered';
CREATE INDEX deliveries_by_age ON deliveries (destination_id, state, pending_since);
CREATE INDEX streams_by_destination ON streams (destination_id);
CREATE UNIQUE INDEX alarms_open ON alarms (sn, kind) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX issues_open ON issues (issue_key) WHERE ended_at IS NULL;
CREATE INDEX streams_live ON streams (destination_id) WHERE until IS NULL;
CREATE INDEX sessions_by_user ON sessions (user_name);
CREATE INDEX sessions_by_token ON sessions (token_hash);
CREATE INDEX sessions_by_end ON sessions (expires_at);
CREATE INDEX app_tokens_by_app ON app_tokens (client_id);
CREATE INDEX app_tokens_by_end ON app_tokens (refresh_until);
CREATE INDEX failed_logins_by_time ON failed_logins (kind, counted_at);
CREATE INDEX leg_groups_by_due_at ON leg_groups (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX leg_groups_by_received_at ON leg_groups (received_at);
CREATE INDEX leg_names_by_group ON leg_names (group_id);
CREATE UNIQUE INDEX shared_dashboards ON dashboards (name) WHERE is_shared;
CREATE UNIQUE INDEX shared_questions ON saved_questions (name) WHERE is_shared;
CREATE INDEX sql_history_by_time ON sql_history (ran_at);
CREATE INDEX streams_held ON streams (until, destination_id) WHERE is_held = 1;
CREATE INDEX destination_log_by_time ON destination_log (destination_id, attempted_at);
CREATE INDEX destination_log_by_call ON destination_log (call_id, sn);
CREATE INDEX mails_by_state ON mails (state, due_at);
CREATE INDEX mails_by_recipient ON mails (kind, recipient, created_at);
CREATE INDEX recovery_codes_by_user ON recovery_codes (user_name);
CREATE INDEX pending_sign_ins_by_user ON pending_sign_ins (user_name);
CREATE INDEX report_schedules_by_user ON report_schedules (user_name);
CREATE INDEX passkeys_by_user ON passkeys (user_name);
CREATE INDEX sign_in_challenges_by_end ON sign_in_challenges (expires_at);
CREATE INDEX alert_channels_by_user ON alert_channels (user_name);
CREATE INDEX identities_by_user ON identities (user_name);
