-- The state of the push channel of each PBX as JSON; empty where none was opened yet.
ALTER TABLE sync_state ADD COLUMN push_channel TEXT NOT NULL DEFAULT '';
