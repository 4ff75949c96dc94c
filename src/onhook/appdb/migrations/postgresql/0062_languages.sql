-- The language that a user has chosen, as `de`; empty: that of the browser. That of the screen of a link likewise.
ALTER TABLE reader_settings ADD COLUMN language TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE wallboard_links ADD COLUMN language TEXT COLLATE "C" NOT NULL DEFAULT '';
