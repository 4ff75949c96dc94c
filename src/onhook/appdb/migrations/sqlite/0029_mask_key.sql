-- The key of masked numbers: one row, made when the first number is masked. With it a hash could be computed of every
-- number, so it is a secret.
CREATE TABLE mask_key (
    key_id INTEGER PRIMARY KEY CHECK (key_id = 1),
    text TEXT NOT NULL
) STRICT;
