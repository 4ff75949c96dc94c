-- The identity provider of the installation (OpenID Connect), in at most one row. The settings are JSON.
CREATE TABLE identity_provider (
    provider_id INTEGER PRIMARY KEY CHECK (provider_id = 1),
    issuer TEXT NOT NULL,
    client_id TEXT NOT NULL,
    client_secret TEXT NOT NULL,
    settings TEXT NOT NULL
) STRICT;
-- Whom a provider names, and the user that it is here. A managed one was added by a sign-in, and has the role and the scope that
-- the provider's claims give with each.
CREATE TABLE identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_name TEXT NOT NULL REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    is_managed INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;
CREATE INDEX identities_by_user ON identities (user_name);
