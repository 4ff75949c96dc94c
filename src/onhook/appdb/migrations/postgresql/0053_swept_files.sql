-- Files of swept folders that stay there and of which everything is stored, or, behind `position`, everything that had
-- ended: they are not read again until they change. `digest` is that of the bytes before `position`, in hexadecimal digits.
-- `ledger_seq` is how far the ledger was then: with a shorter one, of which some events are missing, all files are read.
CREATE TABLE swept_files (
    sn TEXT COLLATE "C" NOT NULL REFERENCES swept_folders ON DELETE CASCADE,
    name TEXT COLLATE "C" NOT NULL,
    inode BIGINT NOT NULL,
    size BIGINT NOT NULL,
    written_ns BIGINT NOT NULL,
    position BIGINT NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (sn, name)
);
ALTER TABLE swept_folders ADD COLUMN ledger_seq BIGINT NOT NULL DEFAULT 0;
