-- What each process says of itself and of its machine, where several share the database; times in microseconds.
CREATE TABLE node_states (
    node TEXT NOT NULL,
    process TEXT NOT NULL,
    version TEXT NOT NULL,
    lease_owner TEXT NOT NULL,
    clock_offset INTEGER NOT NULL,
    free_bytes INTEGER NOT NULL,
    total_bytes INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (node, process)
) STRICT;
-- Each machine has a disk of its own; `node` is empty where there is one machine.
CREATE TABLE node_disk_samples (
    node TEXT NOT NULL,
    measured_at INTEGER NOT NULL,
    free_bytes INTEGER NOT NULL,
    PRIMARY KEY (node, measured_at)
) STRICT;
INSERT INTO node_disk_samples SELECT '', measured_at, free_bytes FROM disk_samples;
DROP TABLE disk_samples;
ALTER TABLE node_disk_samples RENAME TO disk_samples;
-- The callers who are in queues, as the hub with the connection to the PBX has them; an empty queue stands for a PBX
-- that reports none.
CREATE TABLE live_queues (
    node TEXT NOT NULL,
    sn TEXT NOT NULL,
    queue TEXT NOT NULL,
    name TEXT NOT NULL,
    waiting INTEGER NOT NULL,
    talking INTEGER NOT NULL,
    longest_wait INTEGER,
    written_at INTEGER NOT NULL,
    PRIMARY KEY (node, sn, queue)
) STRICT;
