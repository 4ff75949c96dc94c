-- Connections over which PBXs write lines: `mode` is `listen` (the PBX connects to this address of ours) or `connect` (we
-- connect to this address of the PBX). `fields` are the names of the values of a line, with commas between them, where
-- their order is not the usual one.
CREATE TABLE line_connections (
    sn TEXT COLLATE "C" PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    mode TEXT COLLATE "C" NOT NULL,
    host TEXT COLLATE "C" NOT NULL,
    port BIGINT NOT NULL,
    fields TEXT COLLATE "C" NOT NULL
);
