-- Whether an app may place and end calls through its PBX.
ALTER TABLE apps ADD COLUMN allow_control INTEGER NOT NULL DEFAULT 0;
