-- Files of swept folders that stay there and of which everything is stored, or, behind `position`, everything that had
-- ended: they are not read again until they change. `digest` is that of the bytes before `position`, in hexadecimal digits.
-- `ledger_seq` is how far the ledger was then: with a shorter one, of which some events are missing, all files are read.
CREATE TABLE swept_files (
    sn TEXT NOT NULL REFERENCES swept_folders ON DELETE CASCADE,
    name TEXT NOT NULL,
    inode INTEGER NOT NULL,
    size INTEGER NOT NULL,
    written_ns INTEGER NOT NULL,
    position INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (sn, name)
) STRICT, WITHOUT ROWID;
ALTER TABLE swept_folders ADD COLUMN ledger_seq INTEGER NOT NULL DEFAULT 0;
