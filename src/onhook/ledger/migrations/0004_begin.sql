-- At most one row: the number after which a ledger begins that replaced a lost one.
CREATE TABLE ledger_begin (after_seq INTEGER NOT NULL) STRICT;
