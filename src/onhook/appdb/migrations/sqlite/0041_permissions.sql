-- What a user who is no administrator may do besides the role, as words with commas between them; and who has made a link
-- to a wallboard: empty for an administrator, whose links stay.
ALTER TABLE users ADD COLUMN permissions TEXT NOT NULL DEFAULT '';
ALTER TABLE wallboard_links ADD COLUMN author TEXT NOT NULL DEFAULT '';
