-- The file of a brain that is being put in place of an Engine's own.
ALTER TABLE engines ADD COLUMN next_brain TEXT;
