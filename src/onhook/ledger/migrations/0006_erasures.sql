-- Numbers of the control entries of erasures whose events are rewritten, and whether the store was made anew since.
CREATE TABLE erasures (seq INTEGER PRIMARY KEY, is_finished INTEGER NOT NULL) STRICT;
-- One row: the number up to which later events of calls with an erasure were rewritten, and whether the pages are filled
-- with zeros that were freed before versions that do so by themselves.
CREATE TABLE erasure_state (position INTEGER NOT NULL, has_zeroed_pages INTEGER NOT NULL) STRICT;
INSERT INTO erasure_state VALUES (0, 0);
