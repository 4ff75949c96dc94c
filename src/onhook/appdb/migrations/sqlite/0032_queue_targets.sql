-- Settings of queues and ring groups: the seconds within which an answer is in time, and those before which a caller who
-- gives up is a short abandon. A queue without a row has the usual ones.
CREATE TABLE queue_targets (
    sn TEXT NOT NULL REFERENCES pbxs ON DELETE CASCADE,
    queue TEXT NOT NULL,
    service_level_seconds INTEGER NOT NULL,
    short_abandon_seconds INTEGER NOT NULL,
    PRIMARY KEY (sn, queue)
) STRICT;
