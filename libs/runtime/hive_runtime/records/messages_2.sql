-- broker.sqlite, from version 1 to 2: what a sender may say of a message, and dead letters.
ALTER TABLE messages ADD COLUMN broadcast INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN context_only INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN urgent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;     -- turns begun with it that count against it
ALTER TABLE messages ADD COLUMN redrives INTEGER NOT NULL DEFAULT 0;  -- how often it was sent again after it was dead
ALTER TABLE messages ADD COLUMN unburied INTEGER NOT NULL DEFAULT 0;  -- 1: recorded as dead, the rest is still to do
CREATE INDEX messages_dead ON messages (number) WHERE state IN ('dead', 'expired');
CREATE INDEX messages_unburied ON messages (number) WHERE unburied = 1;
