-- Which of a line and a report of the PBX makes a call: `line` or `report`.
ALTER TABLE line_connections ADD COLUMN precedence TEXT COLLATE "C" NOT NULL DEFAULT 'line';
