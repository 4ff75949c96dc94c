-- How much of the disk was free, once an hour: how fast it fills, also over a restart.
CREATE TABLE disk_samples (
    measured_at INTEGER PRIMARY KEY,
    free_bytes INTEGER NOT NULL
) STRICT;
