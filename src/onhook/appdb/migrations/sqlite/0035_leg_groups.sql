-- Legs of PBXs that report each leg by itself, grouped to calls. All of it is derived from the ledger, and made anew where
-- it is missing. `group_id` is the number of the first leg; `due_at` is the time (microseconds since 1970, UTC) at which
-- the call is to be made of its legs, or null where it is made.
CREATE TABLE leg_groups (
    group_id INTEGER PRIMARY KEY,
    sn TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    due_at INTEGER,
    legs TEXT NOT NULL
) STRICT;
CREATE INDEX leg_groups_by_due_at ON leg_groups (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX leg_groups_by_received_at ON leg_groups (received_at);
CREATE TABLE leg_names (
    sn TEXT NOT NULL,
    name TEXT NOT NULL,
    group_id INTEGER NOT NULL REFERENCES leg_groups ON DELETE CASCADE,
    PRIMARY KEY (sn, name)
) STRICT;
CREATE INDEX leg_names_by_group ON leg_names (group_id);
-- The number up to which the ledger was read for legs.
CREATE TABLE leg_position (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
) STRICT;
