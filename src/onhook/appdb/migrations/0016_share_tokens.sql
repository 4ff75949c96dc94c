-- A token with an export filter is for exports alone, in their URL; the filter is a query, empty for all calls in scope.
ALTER TABLE tokens ADD COLUMN export_filter TEXT;
