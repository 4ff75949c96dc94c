-- Names of numbers as the PBX itself lists them: read from it at intervals, and all of a PBX replaced together.
CREATE TABLE pbx_names (
    sn TEXT NOT NULL REFERENCES pbxs ON DELETE CASCADE,
    number TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (sn, number)
) STRICT;
