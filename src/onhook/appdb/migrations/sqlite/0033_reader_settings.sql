-- How users read the pages: their time zone (empty is that of the installation), a clock of 24 or 12 hours, and the
-- columns of the list of calls (empty are the usual ones). A user without a row has the usual settings.
CREATE TABLE reader_settings (
    user_name TEXT PRIMARY KEY REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE,
    zone TEXT NOT NULL,
    clock TEXT NOT NULL,
    call_columns TEXT NOT NULL
) STRICT;
