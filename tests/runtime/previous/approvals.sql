-- approvals.sqlite as hyperhive 0.1.0 of November 2026 made it: its schema, word for word, and some rows.
-- approvals.sqlite: every request and what became of it; never swept. Times are milliseconds since 1970, UTC.
CREATE TABLE approvals (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  agent TEXT NOT NULL,
  requester TEXT NOT NULL,
  state TEXT NOT NULL,
  commit_id TEXT NOT NULL,
  base TEXT NOT NULL,                         -- '': nothing ran before
  description TEXT NOT NULL,
  diff TEXT NOT NULL,                         -- unified, from base to commit, as it was when it was asked for
  requested_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  resolved_at INTEGER,
  note TEXT NOT NULL DEFAULT '',
  error TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE INDEX approvals_by_state ON approvals (state, requested_at);

INSERT INTO approvals VALUES ('a-0123456789abcdef', 'apply_commit', 'ada', 'hm1nd', 'denied', '1111111111111111111111111111111111111111', '',
  'asked for before', '+model = "haiku"', 1764500000000, 1764600000000, 1764500002000, 'not now', '');
PRAGMA user_version = 1;
