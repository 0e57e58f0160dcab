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
