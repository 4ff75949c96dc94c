-- What the other side of a destination calls a call, as its response said: later events of the call are sent with it.
-- `number` counts within a destination, so that the oldest ones can be deleted.
CREATE TABLE external_ids (
    destination_id INTEGER NOT NULL REFERENCES destinations ON DELETE CASCADE,
    number INTEGER NOT NULL,
    sn TEXT NOT NULL,
    call_id TEXT NOT NULL,
    external_id TEXT NOT NULL,
    PRIMARY KEY (destination_id, number),
    UNIQUE (destination_id, sn, call_id)
) STRICT;
