-- What a PBX does its own way: the encoding of its texts, and the meaning of agent_ring_time; empty where it is detected.
CREATE TABLE pbx_conventions (
    sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
    encoding TEXT NOT NULL,
    ring_time_meaning TEXT NOT NULL
) STRICT;
