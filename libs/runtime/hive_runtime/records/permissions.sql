-- broker.sqlite: what a question asks permission for, as JSON of a PermissionRequest; NULL for any other question.
ALTER TABLE questions ADD COLUMN permission TEXT;
