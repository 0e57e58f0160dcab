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
