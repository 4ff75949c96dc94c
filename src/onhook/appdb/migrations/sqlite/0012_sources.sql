CREATE TABLE sources (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    place TEXT NOT NULL,
    cdr_table TEXT NOT NULL,
    columns TEXT NOT NULL,
    password TEXT NOT NULL
) STRICT;
DROP TABLE asterisk_gaps;
