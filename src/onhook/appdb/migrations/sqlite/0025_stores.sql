-- The stores that are made from the ledger, and how far each is: raw events are deleted only behind the slowest one.
CREATE TABLE stores (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;
