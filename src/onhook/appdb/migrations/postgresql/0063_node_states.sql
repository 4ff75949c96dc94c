-- What each process says of itself and of its machine, where several share the database; times in microseconds.
CREATE TABLE node_states (
    node TEXT COLLATE "C" NOT NULL,
    process TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    lease_owner TEXT COLLATE "C" NOT NULL,
    clock_offset BIGINT NOT NULL,
    free_bytes BIGINT NOT NULL,
    total_bytes BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (node, process)
);
-- Each machine has a disk of its own; `node` is empty where there is one machine.
CREATE TABLE node_disk_samples (
    node TEXT COLLATE "C" NOT NULL,
    measured_at BIGINT NOT NULL,
    free_bytes BIGINT NOT NULL,
    PRIMARY KEY (node, measured_at)
);
INSERT INTO node_disk_samples SELECT '', measured_at, free_bytes FROM disk_samples;
DROP TABLE disk_samples;
ALTER TABLE node_disk_samples RENAME TO disk_samples;
-- The callers who are in queues, as the hub with the connection to the PBX has them; an empty queue stands for a PBX
-- that reports none.
CREATE TABLE live_queues (
    node TEXT COLLATE "C" NOT NULL,
    sn TEXT COLLATE "C" NOT NULL,
    queue TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    waiting BIGINT NOT NULL,
    talking BIGINT NOT NULL,
    longest_wait BIGINT,
    written_at BIGINT NOT NULL,
    PRIMARY KEY (node, sn, queue)
);
