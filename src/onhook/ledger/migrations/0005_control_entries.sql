-- Numbers of the control entries among the raw events: a reader finds them without reading all others.
CREATE TABLE control_entries (seq INTEGER PRIMARY KEY) STRICT;
