-- The index reports_by_key keeps its name: SQLite cannot rename an index, and building it anew reads the whole table.
ALTER TABLE reports RENAME TO raw_events;
ALTER TABLE tallies RENAME TO counters;
ALTER TABLE counters RENAME COLUMN what TO kind;
UPDATE counters SET kind = CASE kind
    WHEN 'kept' THEN 'stored'
    WHEN 'repeat' THEN 'duplicate'
    WHEN 'unreadable' THEN 'unparsable'
    WHEN 'test' THEN 'test_message'
    WHEN 'unknown_sn' THEN 'unknown_pbx'
    WHEN 'no_signature' THEN 'missing_signature'
    WHEN 'wrong_signature' THEN 'invalid_signature'
    WHEN 'wrong_place' THEN 'unexpected_source'
    WHEN 'not_a_report' THEN 'not_an_event'
    ELSE kind END;
