-- Notifications after the cursor of a stream that are done already, because one before them takes long: a list of
-- their ids, or NULL. After a crash they are not sent again.
ALTER TABLE streams ADD COLUMN done_ahead TEXT;
