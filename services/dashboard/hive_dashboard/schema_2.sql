-- Tokens, the audit log, answers kept for idempotency keys, and whose terminal is on. Times are seconds since 1970, except
-- in `audit`, where they are milliseconds.
CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  secret_hash BLOB NOT NULL UNIQUE,
  name TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  used_at INTEGER,
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;

-- The token that a session was signed in with; NULL for a one-time link.
ALTER TABLE sessions ADD COLUMN token_id TEXT;

CREATE TABLE audit (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  who TEXT NOT NULL,
  address TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  detail TEXT NOT NULL,
  outcome TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT ''
) STRICT;

-- `status` NULL: it was begun, and nobody knows how it ended.
CREATE TABLE answers (
  key_hash BLOB PRIMARY KEY,
  request_hash BLOB NOT NULL,
  begun_at INTEGER NOT NULL,
  status INTEGER,
  body BLOB
) STRICT, WITHOUT ROWID;

-- `born`: when the agent of that name was made; another of its name later has its terminal off.
CREATE TABLE terminals (
  agent TEXT PRIMARY KEY,
  born TEXT NOT NULL,
  since INTEGER NOT NULL,
  who TEXT NOT NULL
) STRICT, WITHOUT ROWID;
