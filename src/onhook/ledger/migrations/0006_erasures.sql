-- Numbers of the control entries of erasures that are finished: events are rewritten, and the files are clean.
CREATE TABLE finished_erasures (seq INTEGER PRIMARY KEY) STRICT;
-- One row: the number up to which later events of calls with an erasure were rewritten, and whether the pages are filled
-- with zeros that were freed before versions that do so by themselves.
CREATE TABLE erasure_state (position INTEGER NOT NULL, has_zeroed_pages INTEGER NOT NULL) STRICT;
INSERT INTO erasure_state VALUES (0, 0);
