-- Connections over which PBXs write lines: `mode` is `listen` (the PBX connects to this address of ours) or `connect` (we
-- connect to this address of the PBX). `fields` are the names of the values of a line, with commas between them, where
-- their order is not the usual one.
CREATE TABLE line_connections (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    mode TEXT NOT NULL,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    fields TEXT NOT NULL
) STRICT;
