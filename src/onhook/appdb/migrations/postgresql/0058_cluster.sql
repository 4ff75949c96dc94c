-- What all machines of an installation have in common. The ledger on servers: one row, with what distinguishes it from
-- others. Certificates of which all machines use the same, with their private keys, both PEM.
CREATE TABLE shared_ledger (
    ledger_id BIGINT PRIMARY KEY CHECK (ledger_id = 1),
    identity TEXT COLLATE "C" NOT NULL
);
CREATE TABLE shared_certificates (
    name TEXT COLLATE "C" PRIMARY KEY,
    certificate TEXT COLLATE "C" NOT NULL,
    private_key TEXT COLLATE "C" NOT NULL
);
