-- The colours of pages that a user has chosen: `system`, `light` or `dark`.
ALTER TABLE reader_settings ADD COLUMN theme TEXT NOT NULL DEFAULT 'system';
