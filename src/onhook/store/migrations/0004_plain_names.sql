-- Views depend on the tables; they are created again whenever the store is opened.
DROP VIEW IF EXISTS all_records;
DROP VIEW IF EXISTS all_calls;
ALTER TABLE about RENAME TO metadata;
ALTER TABLE weeks RENAME TO rollup_weeks;
ALTER TABLE rollup_weeks RENAME COLUMN is_summed TO is_rolled_up;
ALTER TABLE sums_by_time RENAME TO rollup_by_time;
ALTER TABLE sums_by_party RENAME TO rollup_by_party;
ALTER TABLE sums_of_levels RENAME TO rollup_concurrency;
ALTER TABLE rollup_concurrency RENAME COLUMN begins TO starts_at;
ALTER TABLE rollup_concurrency RENAME COLUMN reached TO peak_at;
ALTER TABLE legs RENAME COLUMN place TO leg_index;
ALTER TABLE legs RENAME COLUMN from_line TO from_suffix;
ALTER TABLE legs RENAME COLUMN to_line TO to_suffix;
ALTER TABLE legs RENAME COLUMN is_odd TO needs_escaping;
ALTER TABLE calls RENAME COLUMN from_line TO from_suffix;
ALTER TABLE calls RENAME COLUMN to_line TO to_suffix;
