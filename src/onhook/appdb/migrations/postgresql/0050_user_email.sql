-- Where a user gets invitations and links to choose another password; empty where there is no address.
ALTER TABLE users ADD COLUMN email TEXT COLLATE "C" NOT NULL DEFAULT '';
