-- broker.sqlite, from version 4 to 5: what a message is about, and steps that were told before the message itself.
ALTER TABLE messages ADD COLUMN about TEXT;                           -- JSON of About; NULL: nothing

CREATE TABLE early_steps (
  number INTEGER PRIMARY KEY,           -- order of arrival
  message_id TEXT NOT NULL,
  recipient TEXT NOT NULL,              -- who says so; taken only if the message turns out to be theirs
  at INTEGER NOT NULL,
  state TEXT NOT NULL,
  turn_id TEXT NOT NULL,
  reason TEXT NOT NULL,
  tries INTEGER NOT NULL,
  noted_at INTEGER NOT NULL,            -- by this machine's clock
  UNIQUE (message_id, recipient, state, turn_id)
) STRICT;
CREATE INDEX early_steps_by_recipient ON early_steps (recipient, number);

CREATE TABLE position (                 -- how far hive:events is recorded
  one INTEGER PRIMARY KEY CHECK (one = 1),
  entry_id TEXT NOT NULL
) STRICT;
