-- What all machines of an installation have in common. The ledger on servers: one row, with what distinguishes it from
-- others. Certificates of which all machines use the same, with their private keys, both PEM.
CREATE TABLE shared_ledger (
    ledger_id INTEGER PRIMARY KEY CHECK (ledger_id = 1),
    identity TEXT NOT NULL
) STRICT;
CREATE TABLE shared_certificates (
    name TEXT PRIMARY KEY,
    certificate TEXT NOT NULL,
    private_key TEXT NOT NULL
) STRICT;
