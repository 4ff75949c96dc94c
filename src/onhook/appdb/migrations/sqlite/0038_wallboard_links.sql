-- Links by which a dashboard is shown as a wallboard without a user, limited to a scope, until they end or are revoked;
-- the text of a link is stored as a hash.
CREATE TABLE wallboard_links (
    link_id INTEGER PRIMARY KEY AUTOINCREMENT,
    dashboard_id INTEGER NOT NULL REFERENCES dashboards ON DELETE CASCADE,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    scope TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT;
