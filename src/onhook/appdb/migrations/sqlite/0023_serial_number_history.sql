-- Events of a further serial number are the PBX's up to its removal, and only where a secret of the PBX signs them. Both
-- must be known later too, so that a rebuilt store has the same calls: `shared_id` is equal for equal secrets, and
-- `secret_owners` has which PBXs have, or had, each of them.
ALTER TABLE serial_numbers ADD COLUMN removed_at INTEGER;
UPDATE serial_numbers SET removed_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000000 WHERE NOT is_accepted;
ALTER TABLE secrets ADD COLUMN shared_id INTEGER;
UPDATE secrets SET shared_id = (SELECT min(s.secret_id) FROM secrets s WHERE s.text = secrets.text);
CREATE TABLE secret_owners (
    shared_id INTEGER NOT NULL,
    sn TEXT NOT NULL,
    PRIMARY KEY (shared_id, sn)
) STRICT;
INSERT INTO secret_owners SELECT DISTINCT shared_id, sn FROM secrets;
