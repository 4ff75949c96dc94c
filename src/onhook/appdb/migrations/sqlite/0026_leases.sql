-- Who does what may be done by one process at a time: a destination, a PBX, a job. Each owner has a higher fence than the
-- one before, and a commit of an earlier owner is refused.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    fence INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT;
