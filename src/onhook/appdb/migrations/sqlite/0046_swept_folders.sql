-- Folders in which PBXs leave files, or a file to which one appends: the hub stores what is in them. Stored files are moved
-- to `target`; with an empty one they stay. The rest is what became of the files: `swept_at` is the last time that the
-- folder was read or could not be, in microseconds since 1970, UTC, and `error` is empty where it could.
CREATE TABLE swept_folders (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    path TEXT NOT NULL,
    target TEXT NOT NULL,
    swept_at INTEGER,
    stored INTEGER NOT NULL,
    unreadable INTEGER NOT NULL,
    error TEXT NOT NULL
) STRICT;
