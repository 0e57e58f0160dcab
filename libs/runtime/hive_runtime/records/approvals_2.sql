-- approvals.sqlite, from version 1 to 2: approvals of every kind, what a page compares, and drafts.
ALTER TABLE approvals ADD COLUMN pattern TEXT NOT NULL DEFAULT '';
ALTER TABLE approvals ADD COLUMN revives INTEGER NOT NULL DEFAULT 0;

CREATE TABLE approval_diffs (
  id TEXT NOT NULL,                           -- of the approval
  base_kind TEXT NOT NULL,
  base TEXT NOT NULL,                         -- '': from nothing
  text TEXT NOT NULL,                         -- unified, as it was when it was asked for
  PRIMARY KEY (id, base_kind)
) STRICT, WITHOUT ROWID;
INSERT INTO approval_diffs SELECT id, 'running', base, diff FROM approvals;
ALTER TABLE approvals DROP COLUMN diff;

CREATE TABLE agent_files (                    -- agent.toml before and after
  id TEXT PRIMARY KEY,                        -- of the approval
  before TEXT,                                -- NULL: there was none
  after TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE drafts (
  name TEXT PRIMARY KEY,
  author TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  commit_id TEXT NOT NULL,                    -- the last that was seen
  subject TEXT NOT NULL,
  committed_at INTEGER NOT NULL,
  revives INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
