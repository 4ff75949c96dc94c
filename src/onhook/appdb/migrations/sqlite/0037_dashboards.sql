-- Dashboards that users have saved: the content is their tiles and period as JSON; all users see a shared one.
CREATE TABLE dashboards (
    dashboard_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL COLLATE NOCASE,
    author TEXT NOT NULL,
    is_shared INTEGER NOT NULL,
    content TEXT NOT NULL,
    UNIQUE (author, name)
) STRICT;
CREATE UNIQUE INDEX shared_dashboards ON dashboards (name) WHERE is_shared;
