-- A keyed fingerprint of every deleted raw event: the event itself is gone, and its repeat is recognised for ever.
CREATE TABLE deleted_events (fingerprint BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE fingerprint_key (key BLOB NOT NULL) STRICT;
INSERT INTO fingerprint_key VALUES (randomblob(32));
