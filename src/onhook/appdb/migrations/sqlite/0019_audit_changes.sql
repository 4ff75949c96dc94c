-- An entry says by which way a change was made, and the values before and after it.
ALTER TABLE audit ADD COLUMN way TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN before TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN after TEXT NOT NULL DEFAULT '';
