-- Failed logins are counted by address and client id. A block from before names no client id, and blocks nothing.
CREATE TABLE blocked_logins (
    address TEXT NOT NULL,
    client_id TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (address, client_id)
) STRICT;
INSERT INTO blocked_logins SELECT address, '', until FROM blocked_addresses;
DROP TABLE blocked_addresses;
ALTER TABLE blocked_logins RENAME TO blocked_addresses;
