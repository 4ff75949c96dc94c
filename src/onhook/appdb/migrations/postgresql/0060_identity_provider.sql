-- The identity provider of the installation (OpenID Connect), in at most one row. The settings are JSON.
CREATE TABLE identity_provider (
    provider_id BIGINT PRIMARY KEY CHECK (provider_id = 1),
    issuer TEXT COLLATE "C" NOT NULL,
    client_id TEXT COLLATE "C" NOT NULL,
    client_secret TEXT COLLATE "C" NOT NULL,
    settings TEXT COLLATE "C" NOT NULL
);
-- Whom a provider names, and the user that it is here. A managed one was added by a sign-in, and has the role and the scope that
-- the provider's claims give with each.
CREATE TABLE identities (
    issuer TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    user_name TEXT COLLATE nocase NOT NULL REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    is_managed BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_by_user ON identities (user_name);
