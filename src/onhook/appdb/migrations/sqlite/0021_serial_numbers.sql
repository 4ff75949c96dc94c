-- Further serial numbers of a PBX, as of a device that was replaced. A row outlives its PBX: its calls stay joined.
CREATE TABLE serial_numbers (
    sn TEXT PRIMARY KEY COLLATE NOCASE,
    pbx_sn TEXT NOT NULL,
    is_accepted INTEGER NOT NULL
) STRICT;
ALTER TABLE pbxs ADD COLUMN keeps_unregistered INTEGER NOT NULL DEFAULT 1;
