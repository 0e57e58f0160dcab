-- broker.sqlite as hyperhive 0.1.0 of November 2026 made it: its schema, word for word, and some rows.
-- broker.sqlite. Times are milliseconds since 1970, UTC.
CREATE TABLE messages (
  number INTEGER PRIMARY KEY,           -- order of acceptance
  id TEXT NOT NULL UNIQUE,
  sender TEXT NOT NULL,
  recipient TEXT NOT NULL,
  body TEXT NOT NULL,
  state TEXT NOT NULL,                  -- MessageState
  sent_at INTEGER NOT NULL,
  in_reply_to TEXT,
  trace_id TEXT NOT NULL,
  hop INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0   -- turns that took it up
) STRICT;
CREATE INDEX messages_by_recipient ON messages (recipient, number);
CREATE INDEX messages_by_sender ON messages (sender, number);
CREATE INDEX messages_by_trace ON messages (trace_id, number);
CREATE INDEX messages_undone ON messages (recipient) WHERE state <> 'acked';

CREATE TABLE steps (
  message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
  at INTEGER NOT NULL,
  state TEXT NOT NULL,
  turn_id TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (message_id, state, turn_id)
) STRICT, WITHOUT ROWID;

-- broker.sqlite, from version 1 to 2: what a sender may say of a message, and dead letters.
ALTER TABLE messages ADD COLUMN broadcast INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN context_only INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN urgent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;     -- turns begun with it that count against it
ALTER TABLE messages ADD COLUMN redrives INTEGER NOT NULL DEFAULT 0;  -- how often it was sent again after it was dead
ALTER TABLE messages ADD COLUMN unburied INTEGER NOT NULL DEFAULT 0;  -- 1: recorded as dead, the rest is still to do
CREATE INDEX messages_dead ON messages (number) WHERE state IN ('dead', 'expired');
CREATE INDEX messages_unburied ON messages (number) WHERE unburied = 1;

-- broker.sqlite: open questions and reminders, and what became of them. Times are milliseconds since 1970, UTC.
CREATE TABLE questions (
  number INTEGER PRIMARY KEY,           -- order of asking
  id TEXT NOT NULL UNIQUE,
  asker TEXT NOT NULL,
  addressee TEXT NOT NULL,
  question TEXT NOT NULL,
  options TEXT NOT NULL,                -- JSON list of text
  multi INTEGER NOT NULL,
  trace_id TEXT NOT NULL,
  hop INTEGER NOT NULL,
  asked_at INTEGER NOT NULL,
  expires_at INTEGER,                   -- NULL: never
  state TEXT NOT NULL,                  -- QuestionState
  answer TEXT NOT NULL DEFAULT '',
  answerer TEXT NOT NULL DEFAULT '',
  closed_at INTEGER,
  closed_by TEXT NOT NULL DEFAULT '',   -- principal and key of the request that closed it
  untold INTEGER NOT NULL DEFAULT 0     -- its time ran out, and the asker has not been told yet
) STRICT;
CREATE INDEX questions_open ON questions (addressee, number) WHERE state = 'open';
CREATE INDEX questions_asked ON questions (asker) WHERE state = 'open';
CREATE INDEX questions_due ON questions (expires_at) WHERE state = 'open' AND expires_at IS NOT NULL;
CREATE INDEX questions_untold ON questions (number) WHERE untold = 1;

CREATE TABLE reminders (
  number INTEGER PRIMARY KEY,           -- order of setting
  id TEXT NOT NULL UNIQUE,
  owner TEXT NOT NULL,
  message TEXT NOT NULL,
  trace_id TEXT NOT NULL,
  hop INTEGER NOT NULL,
  set_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  state TEXT NOT NULL,                  -- ReminderState
  fired_at INTEGER,
  closed_by TEXT NOT NULL DEFAULT '',
  untold INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX reminders_waiting ON reminders (owner) WHERE state = 'waiting';
CREATE INDEX reminders_due ON reminders (due_at) WHERE state = 'waiting';
CREATE INDEX reminders_untold ON reminders (number) WHERE untold = 1;

-- broker.sqlite: what a question asks permission for, as JSON of a PermissionRequest; NULL for any other question.
ALTER TABLE questions ADD COLUMN permission TEXT;

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

INSERT INTO messages (id, sender, recipient, body, state, sent_at, trace_id, hop) VALUES
  ('m-aaaaaaaaaaaaaaaa', 'operator', 'ada', 'written under the release before', 'acked', 1764500000000, 'm-aaaaaaaaaaaaaaaa', 0),
  ('m-bbbbbbbbbbbbbbbb', 'ada', 'operator', 'an answer from before', 'delivered', 1764500001000, 'm-aaaaaaaaaaaaaaaa', 1);
INSERT INTO steps (message_id, at, state, turn_id, reason) VALUES
  ('m-aaaaaaaaaaaaaaaa', 1764500000000, 'accepted', '', ''),
  ('m-aaaaaaaaaaaaaaaa', 1764500000005, 'delivered', '', ''),
  ('m-aaaaaaaaaaaaaaaa', 1764500000900, 'acked', 't-1', ''),
  ('m-bbbbbbbbbbbbbbbb', 1764500001000, 'accepted', '', ''),
  ('m-bbbbbbbbbbbbbbbb', 1764500001004, 'delivered', '', '');
PRAGMA user_version = 5;
