-- How many days calls are kept where their PBX has no days of its own, in at most one row: 0 is for ever. Without a row
-- those of the configuration.
CREATE TABLE installation_retention (
    settings_id BIGINT PRIMARY KEY CHECK (settings_id = 1),
    days BIGINT NOT NULL
);
