-- Tokens that are for exports alone, in their URL; the filter is a query, empty for all calls in scope.
CREATE TABLE share_tokens (
    name TEXT PRIMARY KEY REFERENCES tokens (name) ON DELETE CASCADE,
    export_filter TEXT NOT NULL
) STRICT;
