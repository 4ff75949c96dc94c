-- Folders in which PBXs leave files, or a file to which one appends: the hub stores what is in them. Stored files are moved
-- to `target`; with an empty one they stay. The rest is what became of the files: `swept_at` is the last time that the
-- folder was read or could not be, in microseconds since 1970, UTC, and `error` is empty where it could.
CREATE TABLE swept_folders (
    sn TEXT COLLATE "C" PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    path TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    swept_at BIGINT,
    stored BIGINT NOT NULL,
    unreadable BIGINT NOT NULL,
    error TEXT COLLATE "C" NOT NULL
);
