-- Names of numbers as the PBX itself lists them: read from it at intervals, and all of a PBX replaced together.
CREATE TABLE pbx_names (
    sn TEXT COLLATE "C" NOT NULL REFERENCES pbxs ON DELETE CASCADE,
    number TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (sn, number)
);
