-- Questions in SQL that users have saved: all users whose access is not limited see a shared one, its author alone any
-- other.
CREATE TABLE saved_questions (
    question_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL COLLATE NOCASE,
    author TEXT NOT NULL,
    is_shared INTEGER NOT NULL,
    sql TEXT NOT NULL,
    UNIQUE (author, name)
) STRICT;
CREATE UNIQUE INDEX shared_questions ON saved_questions (name) WHERE is_shared;
-- Queries that users have run on the page SQL, each once, with the time of the last run (microseconds since 1970, UTC).
CREATE TABLE sql_history (
    history_id INTEGER PRIMARY KEY AUTOINCREMENT,
    author TEXT NOT NULL,
    sql TEXT NOT NULL,
    ran_at INTEGER NOT NULL,
    UNIQUE (author, sql)
) STRICT;
CREATE INDEX sql_history_by_time ON sql_history (ran_at);
